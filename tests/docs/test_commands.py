"""Every command and every YAML of README and docs can be pasted as it stands.

What the miniature can do is done, in one folder, in the order of the pages. The rest needs a large model, a
GPU, a network or a run that is somebody's; its arguments are read by the real parser.
"""

import re
import shlex
from pathlib import Path

import pytest

from ltxv_train_core import cli
from ltxv_train_core.cli import _parser
from ltxv_train_core.config import yaml_file
from tests.helpers.markdown import ROOT, blocks, commands

OURS = re.compile(r"(?:^|\s)(?:python )?-m ltxv_train_core\s+(.*)")

LARGE = "a large model"
ELSEWHERE = "done by tests of its own"
THEIRS = "names files or runs that are the reader's"
SEVERAL = "several processes"
NOT_DONE = {
    "caption": LARGE,
    "LTXV_13B_097_DEV --sizes": LARGE,
    "Lightricks/Squish-Dataset": LARGE,
    "recipes/style-13b-24gb.yaml": LARGE,
    "demo": ELSEWHERE,
    "benchmark": ELSEWHERE,
    "gpu-check": ELSEWHERE,
    "allow": THEIRS,
    "my-videos": THEIRS,
    "my-voice": THEIRS,
    "my-lora.yaml": THEIRS,
    "inspect FILE": THEIRS,
    "convert": THEIRS,
    "merge": THEIRS,
    "my-lora-30725d373ccf": THEIRS,
    "sound-clips": THEIRS,
    "accelerate": SEVERAL,
    "torchrun": SEVERAL,
    "--processes 2": SEVERAL,
}
HEAVY = ("train ", "sweep ")
OTHERS = ("python benchmarks/", "python tools/", "python -m pytest", "pip install", "mkdocs")
SHELL = ("pre-commit install", "curl ", "head=", "srun ", "torchrun ", "accelerate launch")


def own(command: str) -> str | None:
    """The arguments of one of this program's commands."""
    found = OURS.search(command)
    return found and found[1]


def reason(command: str) -> str | None:
    """Why a command isn't done here."""
    return next((why for part, why in NOT_DONE.items() if part in command), None)


def done(heavy: bool) -> list[str]:
    """The arguments of commands that are done, each once; the heavy ones only if asked for."""
    found = dict.fromkeys(a for _, c in commands() if (a := own(c)) and reason(c) is None)
    return [each for each in found if heavy or not each.startswith(HEAVY)]


def run_all(arguments: list[str], folder: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Those that fail, with what they exited with."""
    monkeypatch.chdir(folder)
    return [f"{each}: {code}" for each in arguments if (code := cli.main(shlex.split(each)))]


def test_every_command_is_one_that_there_is() -> None:
    found = list(commands())
    ours = [(page, arguments) for page, c in found if (arguments := own(c))]
    assert len(ours) > 45, len(ours)
    parser = _parser()
    for page, arguments in ours:
        try:
            parser.parse_args(shlex.split(arguments))
        except SystemExit:
            pytest.fail(f"{page}: {arguments}")
    unknown = [c for _, c in found if not own(c) and not c.startswith((*OTHERS, *SHELL))]
    assert unknown == []


def test_every_reason_to_leave_a_command_out_is_needed() -> None:
    ours = [c for _, c in commands() if own(c)]
    assert [part for part in NOT_DONE if not any(part in c for c in ours)] == []


def test_what_other_programs_are_given_is_there() -> None:
    tomllib = pytest.importorskip("tomllib", reason="part of Python since 3.11")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    markers = " ".join(project["tool"]["pytest"]["ini_options"]["markers"])
    for page, command in commands():
        for script in re.findall(r"python ((?:benchmarks|tools)/\S+\.py)", command):
            assert (ROOT / script).is_file(), f"{page}: {script}"
        for extra in re.findall(r"\.\[([\w-]+)\]", command):
            assert extra in project["project"]["optional-dependencies"], f"{page}: {extra}"
        for marker in re.findall(r"pytest -m (\w+)", command):
            assert f"{marker}:" in markers, f"{page}: {marker}"
        for path in re.findall(r"pytest -n0 (\S+)", command):
            assert (ROOT / path).exists(), f"{page}: {path}"


@pytest.mark.slow
def test_the_light_commands_do_what_they_say(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    light = done(heavy=False)
    assert len(light) >= 14, light
    assert run_all(light, tmp_path, monkeypatch) == []
    assert (tmp_path / "config.yaml").is_file()
    assert (tmp_path / "exported" / "latents").is_dir()
    configurations = [b for b in blocks("yaml") if "preprocessed_data_root: clips" in b.text]
    assert len(configurations) == 1
    file = tmp_path / "written.yaml"
    file.write_text(configurations[0].text, encoding="utf-8")
    assert cli.main(["check", str(file), "--strict"]) == 0


@pytest.mark.long
def test_all_commands_do_what_they_say(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first training as it stands, the others, which differ in an option, in a few steps."""
    found = done(heavy=True)
    trainings = [each for each in found if each.startswith(HEAVY)]
    assert len(trainings) >= 5
    short = {each: f"{each} --set optimization.steps=3" for each in trainings[1:]}
    assert run_all([short.get(each, each) for each in found], tmp_path, monkeypatch) == []
    assert len(list(tmp_path.glob("outputs/*/weights/*.safetensors"))) >= len(trainings)


def test_every_yaml_is_a_configuration(tmp_path: Path) -> None:
    found = list(blocks("yaml"))
    assert len(found) >= 6
    for number, block in enumerate(found):
        text = block.text
        if "preprocessed_data_root" not in text:
            text = f"data: {{preprocessed_data_root: clips}}\n{text}"
        file = tmp_path / f"{number}.yaml"
        file.write_text(text, encoding="utf-8")
        yaml_file.load(file)
