"""`recipe` writes the configuration that the canvas' node proposes; configurations of the other system are read."""

import os
import shutil
from pathlib import Path

import pytest
from PIL import Image

from ltxv_train_core.cli import configurations, main
from ltxv_train_core.config import PART_SOURCES, yaml_file
from ltxv_train_core.errors import ConfigurationError
from ltxv_train_core.families.ltxv.miniature.datasets import generate
from ltxv_train_core.preprocessing.preprocess import PreprocessSettings, preprocess


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("recipe").resolve() / "clips"
    metadata = generate("stripes", folder, clips=3).metadata
    preprocess(
        PreprocessSettings(
            source=metadata, model_source="LTXV_MINIATURE", resolution_buckets="96x96x17"
        )
    )
    return folder


def test_a_recipe_is_a_file_that_check_accepts(dataset: Path, tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    arguments = ["recipe", str(dataset), "--model-source", "LTXV_MINIATURE", "--name", "mine"]
    prompts = ["--prompt", "a red circle", "--prompt", "a blue square"]
    assert main([*arguments, *prompts, "--effort", "draft", "--output", str(file)]) == 0
    config = yaml_file.load(file)
    assert config.name == "mine"
    assert config.data.preprocessed_data_root == str(dataset)
    assert config.validation.prompts == ("a red circle", "a blue square")
    assert "# optimization.steps = " in file.read_text(encoding="utf-8")
    assert main(["check", str(file), "--strict"]) == 0


def test_a_file_that_is_there_is_not_replaced(
    dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "config.yaml"
    file.write_text("mine", encoding="utf-8")
    code = main(["recipe", str(dataset), "--model-source", "LTXV_MINIATURE", "--output", str(file)])
    assert code == 2
    assert "delete it" in capsys.readouterr().err
    assert file.read_text(encoding="utf-8") == "mine"


@pytest.mark.parametrize(("card", "saves"), [("24", False), ("8", True)])
def test_a_card_decides_about_memory(
    dataset: Path, card: str, saves: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    model = ["--model-source", "LTXV_MINIATURE", "--goal", "full"]
    assert main(["recipe", str(dataset), *model, "--card", card]) == 0
    printed = capsys.readouterr().out
    assert f"a card of {card} GiB" in printed
    assert "training_mode: full" in printed


def test_a_configuration_from_windows_is_read(
    dataset: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    shutil.copytree(dataset, tmp_path / "sets" / "clips")
    (tmp_path / "pictures").mkdir()
    Image.new("RGB", (96, 96)).save(tmp_path / "pictures" / "a.png")
    monkeypatch.chdir(tmp_path)
    lines = [
        "model: {model_source: LTXV_MINIATURE}",
        "data: {preprocessed_data_root: 'sets\\clips'}",
        "validation: {prompts: [a], images: ['pictures\\a.png'], video_dims: [96, 96, 17]}",
    ]
    file = tmp_path / "windows.yaml"
    file.write_text("\n".join(lines), encoding="utf-8")
    assert main(["check", "windows.yaml", "--strict"]) == 0, capsys.readouterr().out
    file.write_text("\n".join(lines).replace("clips'", "others'"), encoding="utf-8")
    assert main(["check", "windows.yaml", "--strict"]) == 2
    assert "sets\\others" in capsys.readouterr().out


@pytest.mark.skipif(os.sep == "\\", reason="there these paths are its own")
def test_runs_of_a_configuration_from_windows_lie_in_folders(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "windows.yaml"

    def written(output: str) -> str:
        file.write_text(f"data: {{preprocessed_data_root: a}}\noutput_dir: '{output}'", "utf-8")
        return configurations.load(file).output_dir

    assert written("my runs\\loras") == "my runs/loras"
    assert written("my runs/loras") == "my runs/loras"
    (tmp_path / "old\\runs").mkdir()
    assert written("old\\runs") == "old\\runs", "runs that are there are found again"
    with pytest.raises(ConfigurationError, match=r"output_dir 'D:.*this is a path of Windows"):
        written("D:\\runs")


def test_ends_of_lines_in_a_prompt_stay_in_its_place(dataset: Path, tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    arguments = ["recipe", str(dataset), "--model-source", "LTXV_MINIATURE", "--output", str(file)]
    assert main([*arguments, "--prompt", "a circle\noutput_dir: /elsewhere\rx: y"]) == 0
    config = yaml_file.load(file)
    assert config.validation.prompts == ("a circle\noutput_dir: /elsewhere\rx: y",)
    assert config.output_dir == "outputs"


def test_every_part_of_a_model_may_be_named(
    dataset: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of LTX-2 as ComfyUI splits it, four lie in files of their own."""
    parts = [f"--{name.replace('_', '-')}=here/{name}" for name in PART_SOURCES]
    assert len(parts) == 4
    assert main(["recipe", str(dataset), "--model-source", "LTXV_MINIATURE", *parts]) == 0
    printed = capsys.readouterr().out
    assert all(f"{name}: here/{name}" in printed for name in PART_SOURCES)
