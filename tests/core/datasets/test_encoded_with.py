"""A data set and the model that is trained on it belong together."""

import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from ltxv_train_core.cli import main
from ltxv_train_core.config import yaml_file
from ltxv_train_core.datasets.export import export_reference
from ltxv_train_core.errors import ConfigurationError
from ltxv_train_core.families.ltxv.miniature import weights
from ltxv_train_core.families.ltxv.miniature.comfy_file import export
from ltxv_train_core.families.ltxv.miniature.shipped import MINIATURE
from ltxv_train_core.families.ltxv.opening import open_vae
from ltxv_train_core.families.open import open_model
from ltxv_train_core.preprocessing.preprocess import PreprocessSettings, preprocess
from ltxv_train_core.training.run_plan import plan_run


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    """The miniature as a folder in the diffusers layout."""
    folder = tmp_path_factory.mktemp("model") / "m"
    weights.load_transformer().save_pretrained(folder / "transformer")
    weights.load_vae().save_pretrained(folder / "vae")
    weights.load_text_encoder().save_pretrained(folder / "text_encoder")
    weights.load_tokenizer().save_pretrained(folder / "tokenizer")
    (folder / "model_index.json").write_text(json.dumps({"_class_name": "LTXConditionPipeline"}))
    return folder


def changed(model: Path, part: str, folder: Path) -> Path:
    """A copy of a model in which one part has other weights."""
    shutil.copytree(model, folder)
    (path,) = (folder / part).glob("*.safetensors")
    state = {name: tensor * 1.1 for name, tensor in load_file(path).items()}
    save_file(state, path, {"format": "pt"})
    return folder


def encode(data: Path, source: Path | str, output: Path) -> tuple[int, int]:
    """How many files were written, and how many were there already."""
    metadata = data.parent / "dataset.json"
    summary = preprocess(PreprocessSettings(metadata, str(source), "96x96x17", output))
    return summary.written, summary.reused


def test_content_is_the_same_in_every_layout(model, tmp_path):
    shards = tmp_path / "shards"
    weights.load_vae().save_pretrained(shards, max_shard_size="3MB")
    assert len(list(shards.glob("*.safetensors"))) > 1
    folder, built_in = open_model(str(model)), open_model(MINIATURE)
    assert (
        built_in.part("vae").content == folder.part("vae").content == open_vae(str(shards)).content
    )
    assert built_in.part("text_encoder").content == folder.part("text_encoder").content
    file = open_model(str(export(tmp_path / "file.safetensors")))
    assert (
        file.part("vae").content == folder.part("vae").content
    )  # wider with zeros, as ComfyUI wants it
    assert file.part("text_encoder").content is None
    other = open_model(str(changed(model, "vae", tmp_path / "other")))
    assert other.part("vae").content != folder.part("vae").content
    assert other.part("text_encoder").content == folder.part("text_encoder").content


def test_what_another_encoder_made_is_encoded_again_and_nothing_else(model, stripes_data, tmp_path):
    output = tmp_path / "out"
    assert encode(stripes_data, MINIATURE, output) == (8, 0)
    assert encode(stripes_data, model, output) == (0, 8)
    transformer = changed(model, "transformer", tmp_path / "a")
    assert encode(stripes_data, transformer, output) == (0, 8)
    text = changed(transformer, "text_encoder", tmp_path / "b")
    assert encode(stripes_data, text, output) == (4, 4)
    vae = changed(text, "vae", tmp_path / "c")
    assert encode(stripes_data, vae, output) == (4, 4)
    assert encode(stripes_data, vae, output) == (0, 8)


def test_what_an_earlier_version_encoded_stays_valid(stripes_data, tmp_path, monkeypatch):
    """It named encoders by everything that lies in a model."""
    output = tmp_path / "out"
    with monkeypatch.context() as earlier:
        for part in ("MiniatureVae", "MiniatureEncoder"):
            earlier.setattr(f"ltxv_train_core.families.ltxv.miniature_model.{part}.content", None)
        assert encode(stripes_data, MINIATURE, output) == (8, 0)
    index = json.loads((output / "index.json").read_text())
    assert "vae_content" not in index["model"]
    (output / "contact_sheet.png").unlink()
    index["model"]["stamp"] = "of another version"
    (output / "index.json").write_text(json.dumps(index))
    assert encode(stripes_data, MINIATURE, output) == (0, 8)
    assert json.loads((output / "index.json").read_text())["fingerprint"] == index["fingerprint"]


@pytest.mark.parametrize(
    ("part", "words"),
    [("vae", "its latents were encoded with another VAE"), ("text_encoder", "its captions were")],
)
def test_a_data_set_of_another_encoder_is_refused(
    model, stripes_data, training_config, tmp_path, part, words, capsys
):
    other = changed(model, part, tmp_path / "other")
    encode(stripes_data, other, tmp_path / "out")
    wanted = training_config(tmp_path / "out")
    yaml_file.save(wanted, tmp_path / "run.yaml")
    assert main(["check", str(tmp_path / "run.yaml"), "--strict"]) == 2
    told = capsys.readouterr().out
    assert words in told
    assert len(told.splitlines()) == 1
    with pytest.raises(ConfigurationError, match=words):
        plan_run(wanted)
    assert not (tmp_path / "runs").exists()
    plan_run(training_config(tmp_path / "out", data={"allow_other_encoders": True}))
    plan_run(training_config(tmp_path / "out", model={"model_source": str(other)}))


def test_text_of_another_width_is_refused_whatever_is_allowed(
    stripes_data, training_config, tmp_path
):
    shutil.copytree(stripes_data, tmp_path / "wide")
    for path in (tmp_path / "wide").rglob("*.safetensors"):
        tensors = load_file(path)
        if "prompt_embeds" in tensors:
            head = json.loads(path.read_bytes()[8:].split(b"}}")[0].decode() + "}}")
            tensors["prompt_embeds"] = torch.zeros(3, 96)
            save_file(tensors, path, head["__metadata__"])
    with pytest.raises(ConfigurationError, match=r"encoded to 96 numbers.* reads 128"):
        plan_run(training_config(tmp_path / "wide", data={"allow_other_encoders": True}))


def test_latents_of_another_trainer_that_are_not_normalised_are_refused(
    stripes_data, training_config, tmp_path
):
    export_reference(stripes_data, tmp_path / "theirs", "float32")
    plan_run(training_config(tmp_path / "theirs"))
    for path in (tmp_path / "theirs/latents").rglob("*.pt"):
        data = torch.load(path, weights_only=True)
        torch.save({**data, "latents": data["latents"] * 100}, path)
    with pytest.raises(ConfigurationError, match="have a standard deviation of"):
        plan_run(training_config(tmp_path / "theirs"))
    plan_run(training_config(tmp_path / "theirs", data={"allow_other_encoders": True}))


def test_models_that_load_at_the_same_time_leave_later_ones_whole(model):
    """A run in the background may load its text encoder while the graph loads another one."""
    with ThreadPoolExecutor(4) as pool:
        loads = [
            pool.submit(open_model(str(model)).load_text_encoder, torch.float32) for _ in range(8)
        ]
        loaded = [load.result() for load in loads]
    loaded.append(open_model(str(model)).load_text_encoder(torch.float32))
    assert {p.device.type for each in loaded for p in each.encoder.parameters()} == {"cpu"}
