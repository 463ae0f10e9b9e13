"""Tools on a disk that fills up at any of their writes: a named cause, nothing half-written, and the
same result when there is room again."""

import errno
import itertools
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from ltxv_train_core.cli import main
from ltxv_train_core.errors import LTXVTrainError
from ltxv_train_core.families.ltxv.miniature.comfy_file import export
from ltxv_train_core.families.ltxv.miniature.weights import load_transformer
from ltxv_train_core.lora.file import write_lora
from ltxv_train_core.lora.lora import LoRALayer
from ltxv_train_core.lora.targets import match_modules
from ltxv_train_core.manifests.clip_files import Footage, write_dataset
from ltxv_train_core.manifests.references import add_references
from ltxv_train_core.media.write import write_video
from ltxv_train_core.storage.atomic import sha256_file
from ltxv_train_core.storage.tensors import write_safetensors
from tests.core.manifests.test_scene_splitting import shots
from tests.helpers.disk_faults import files_of_at_most, refused
from tests.helpers.tiny_captioner import write_tiny_captioner

SAMPLE = (1, 2, 3, 5, 9, 17, 1000)
WHOLE = (".mp4", ".png", ".pt", ".safetensors")
"""Files that are written once, and then whole."""


@pytest.fixture(scope="module")
def inputs(tmp_path_factory, prepared) -> Path:
    """What the tools read: films, clips, a data set, a LoRA, two checkpoints, a captioner."""
    folder = tmp_path_factory.mktemp("inputs")
    write_video(folder / "films/a.mp4", shots(30, 25), fps=10)
    rows = []
    for number in range(2):
        write_video(folder / f"clips/{number}.mp4", shots(9, start=number), fps=10)
        rows.append({"caption": f"clip {number}", "media_path": f"{number}.mp4"})
    (folder / "clips/data.json").write_text(json.dumps(rows), encoding="utf-8")
    write_tiny_captioner(folder / "captioner")
    shutil.copytree(prepared, folder / "prepared")
    generator = torch.Generator().manual_seed(0)
    lora = {
        name: LoRALayer(
            torch.randn(4, 256, generator=generator), torch.randn(256, 4, generator=generator), 4.0
        )
        for name in match_modules(load_transformer(), ("attn1.to_q",))
    }
    write_lora(folder / "lora.safetensors", lora, {})
    export(folder / "base.safetensors")
    tensors = load_file(folder / "base.safetensors")
    key = "model.diffusion_model.transformer_blocks.0.attn1.to_q.weight"
    write_safetensors(
        folder / "tuned.safetensors", tensors | {key: tensors[key] + 0.1}, {"format": "pt"}
    )
    return folder


def commands(inputs: Path, out: Path) -> dict[str, list[str]]:
    """A command line of each tool that writes into a folder alone."""
    lora, base = str(inputs / "lora.safetensors"), str(inputs / "base.safetensors")
    made = ["--output", str(out / "made.safetensors")]
    return {
        "split": ["split", str(inputs / "films"), "--output", str(out), "--min-seconds", "1"],
        "caption": [
            *("caption", str(out), "--max-new-tokens", "3"),
            *("--model", str(inputs / "captioner")),
        ],
        "references": ["references", str(out / "data.json"), "--kind", "canny"],
        "export": [
            *("export", str(inputs / "prepared"), "--format", "reference"),
            *("--output", str(out)),
        ],
        "convert": ["convert", lora, "--to", "kohya", *made],
        "resize": ["resize", lora, "--rank", "2", *made],
        "merge": ["merge", base, lora, *made],
        "extract": ["extract", base, str(inputs / "tuned.safetensors"), "--rank", "2", *made],
        "generate": ["generate", "stripes", "--clips", "1", "--output", str(out)],
        "miniature": ["miniature", "export", "--output", str(out / "made.safetensors")],
    }


TOOLS = list(commands(Path(), Path()))


def begin(inputs: Path, out: Path, tool: str) -> Callable[[], int]:
    """An output folder as the tool finds it, and the tool."""
    shutil.rmtree(out, ignore_errors=True)
    if tool in ("caption", "references"):
        shutil.copytree(inputs / "clips", out)
        if tool == "caption":
            (out / "data.json").unlink()
    else:
        out.mkdir()
    command = commands(inputs, out)[tool]
    return lambda: main(command)


def contents(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): sha256_file(path)
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def assert_named(code: int, capsys, reason: str) -> None:
    out, err = capsys.readouterr()
    assert code == 1
    assert "Traceback" not in out + err
    (line,) = [line for line in err.splitlines() if line.startswith("error: ")]
    assert f"can't be written: the disk is full ({reason}). Make room, then start again" in line


def assert_nothing_half_written(out: Path, expected: dict[str, str]) -> None:
    for name, digest in contents(out).items():
        assert ".part" not in name
        if name.endswith(WHOLE):
            assert digest == expected[name], name
        elif name.endswith(".json"):
            json.loads((out / name).read_text(encoding="utf-8"))


def at_every_write(*tools: str) -> pytest.MarkDecorator:
    """At a sample of the writes by default, at every one with `-m kills`."""
    sampled = [pytest.param(tool, SAMPLE, id=tool) for tool in tools]
    every = [
        pytest.param(tool, None, id=f"{tool}-every", marks=pytest.mark.kills) for tool in tools
    ]
    return pytest.mark.parametrize(("tool", "sample"), [*sampled, *every])


@at_every_write(*TOOLS)
def test_a_disk_that_is_full_at_any_write(inputs, tmp_path, capsys, tool, sample):
    if tool == "split":
        pytest.importorskip("scenedetect")
    out = tmp_path / "out"
    assert begin(inputs, out, tool)() == 0
    expected = contents(out)
    capsys.readouterr()
    for first in sample or itertools.count(1):
        run = begin(inputs, out, tool)
        with refused(out, errno.ENOSPC, first) as fault:
            code = run()
        if not fault.has_struck:
            assert code == 0
            break
        assert_named(code, capsys, os.strerror(errno.ENOSPC))
        assert_nothing_half_written(out, expected)
        assert run() == 0, first
        assert contents(out) == expected, first
    assert first > 1  # the tool has written something
    assert not fault.has_struck


@pytest.mark.parametrize("tool", TOOLS)
def test_a_disk_that_is_full_in_the_middle_of_a_file(inputs, tmp_path, capsys, tool):
    """Also of those that FFmpeg writes, which Python doesn't see."""
    if tool == "split":
        pytest.importorskip("scenedetect")
    out = tmp_path / "out"
    before = begin(inputs, out, tool)() == 0 and {
        name: path.stat().st_size for name, path in _files(out).items()
    }
    begin(inputs, out, tool)
    made = [size for name, size in before.items() if name not in _files(out)]
    begin(inputs, out, tool)()
    expected = contents(out)
    capsys.readouterr()
    for size in sorted({1, max(made) // 2, max(made) - 1}):
        run = begin(inputs, out, tool)
        with files_of_at_most(size):
            code = run()
        assert_named(code, capsys, os.strerror(errno.EFBIG))
        assert_nothing_half_written(out, expected)
        assert run() == 0, size
        assert contents(out) == expected, size


def _files(folder: Path) -> dict[str, Path]:
    return {p.relative_to(folder).as_posix(): p for p in folder.rglob("*") if p.is_file()}


def test_frames_of_the_canvas(tmp_path):
    """Data sets and references that nodes hand over in memory."""
    frames = shots(9)
    clips = [Footage(str(n), np.roll(frames, n, axis=0), 10, (f"clip {n}",)) for n in range(2)]

    def make(folder: Path) -> None:
        source = write_dataset(folder, clips, total=len(clips))
        names = [row["media_path"] for row in json.loads(source.read_text(encoding="utf-8"))]
        add_references(source, names, [255 - clip.frames for clip in clips], "negative")

    make(tmp_path / "whole")
    expected = contents(tmp_path / "whole")
    assert len([name for name in expected if name.endswith(".mp4")]) == 4
    out = tmp_path / "out"
    for first in itertools.count(1):
        shutil.rmtree(out, ignore_errors=True)
        told = ""
        with refused(out, errno.ENOSPC, first) as fault:
            try:
                make(out)
            except LTXVTrainError as error:
                told = str(error)
        assert ("the disk is full" in told) == fault.has_struck
        assert_nothing_half_written(out, expected)
        make(out)
        assert contents(out) == expected, first
        if not fault.has_struck:
            break
    assert first > 10
