"""A second pass does nothing that was done; an interrupted one loses nothing; orphans are told."""

import json
import os
import subprocess
import sys
import threading
import time
import tracemalloc
from multiprocessing import get_context
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from ltxv_train_core.config import PreprocessSettings
from ltxv_train_core.datasets.index import read_index
from ltxv_train_core.errors import Cancelled
from ltxv_train_core.events import Progress
from ltxv_train_core.families.ltxv.miniature.datasets import generate
from ltxv_train_core.families.names import VAE
from ltxv_train_core.families.open import MINIATURE
from ltxv_train_core.media import video
from ltxv_train_core.preprocessing import probe_cache
from ltxv_train_core.preprocessing.encoders import EncoderSource
from ltxv_train_core.preprocessing.preprocess import preprocess
from ltxv_train_core.preprocessing.probe_cache import FactsMemory
from ltxv_train_core.storage.atomic import atomic_path

LONG_AGO = 1_600_000_000


def row(media, caption="grey"):
    return {"media_path": media, "caption": caption}


def age(folder: Path) -> None:
    """Makes all media as old as they are in a data set that wasn't written just now."""
    for path in folder.glob("*.mp4"):
        os.utime(path, (LONG_AGO, LONG_AGO))


def snapshot(root: Path) -> dict[str, int]:
    return {str(path): path.stat().st_mtime_ns for path in root.rglob("*") if path.is_file()}


def test_a_second_pass_reads_no_media_writes_nothing_and_takes_no_time(
    tmp_path, write_clip, make, monkeypatch
):
    for i in range(8):
        write_clip(f"{i}.mp4", 20 * i, frames=17)
    age(tmp_path)
    rows = [row(f"{i}.mp4") for i in range(8)]
    first = make(rows, buckets="64x64x17")
    before = snapshot(first.root)

    def refuse(*arguments):
        raise AssertionError("a media file was read")

    monkeypatch.setattr(video, "probe", refuse)
    monkeypatch.setattr(probe_cache, "sha256_file", refuse)
    again = make(rows, buckets="64x64x17")
    assert (again.written, again.reused) == (0, 16)
    assert snapshot(first.root) == before
    assert again.seconds < 0.25 * first.seconds  # here most of the first is loading models


def test_an_unchanged_data_set_is_recognised_without_importing_what_reads_it(
    tmp_path, write_clip, make
):
    write_clip("a.mp4")
    age(tmp_path)
    root = make([row("a.mp4")]).root
    code = (
        "import sys; from pathlib import Path; "
        "from ltxv_train_core.preprocessing.preprocess import PreprocessSettings, preprocess; "
        "done = preprocess(PreprocessSettings(Path(sys.argv[1]), 'LTXV_MINIATURE', '64x64x9')); "
        "assert (done.written, done.reused) == (0, 2); assert not {'torch', 'numpy', 'av'} & set(sys.modules)"
    )
    command = [sys.executable, "-c", code, str(root.parent / "data.csv")]
    ran = subprocess.run(
        command, cwd=Path(__file__).parents[3], capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr


def test_a_model_that_is_another_now_is_asked(tmp_path, write_clip, make):
    """What the index remembers of the model is wrong: the files are still right, and found."""
    write_clip("a.mp4")
    write_clip("short.mp4", frames=3)
    rows = [row("a.mp4"), row("short.mp4")]
    root = make(rows).root
    path = root / "index.json"
    index = json.loads(path.read_text(encoding="utf-8"))
    right = index["model"]["vae"]
    index["model"]["vae"] = "another"
    path.write_text(json.dumps(index), encoding="utf-8")
    again = make(rows)
    assert (again.written, again.reused, len(again.skipped)) == (0, 2, 1)
    assert read_index(root).model["vae"] == right
    assert make(rows, vae_dtype="bfloat16").written == 1


def test_a_changed_file_is_noticed_by_time_or_size_or_by_looking(tmp_path, write_clip):
    write_clip("a.mp4", 50)
    age(tmp_path)
    media, root = tmp_path / "a.mp4", tmp_path / "cache"
    memory = FactsMemory(root)
    facts = memory.of(media)
    memory.save(finished=True)
    assert FactsMemory(root).of(media) == facts
    content = bytearray(media.read_bytes())
    content[-1] ^= 1
    media.write_bytes(content)
    os.utime(media, (LONG_AGO, LONG_AGO))
    assert FactsMemory(root).of(media) == facts
    assert FactsMemory(root, recheck=True).of(media) != facts
    os.utime(media, (LONG_AGO, LONG_AGO + 1))
    assert FactsMemory(root).of(media) != facts


def test_a_file_that_was_just_written_is_read_again_the_next_time(tmp_path, write_clip):
    """Its time may be the same after another change within the clock's grain."""
    write_clip("a.mp4", 50)
    memory = FactsMemory(tmp_path / "cache")
    facts = memory.of(tmp_path / "a.mp4")
    memory.save(finished=True)
    status = (tmp_path / "a.mp4").stat()
    content = bytearray((tmp_path / "a.mp4").read_bytes())
    content[-1] ^= 1
    (tmp_path / "a.mp4").write_bytes(content)
    os.utime(tmp_path / "a.mp4", ns=(status.st_atime_ns, status.st_mtime_ns))
    assert FactsMemory(tmp_path / "cache").of(tmp_path / "a.mp4") != facts


def test_what_can_not_be_read_is_forgotten(tmp_path, write_clip):
    write_clip("a.mp4", 50)
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache/files.json").write_text("{", encoding="utf-8")
    memory = FactsMemory(tmp_path / "cache")
    assert memory.of(tmp_path / "a.mp4").info.frames == 9


def test_a_clip_that_can_not_be_decoded_is_tried_once(tmp_path, write_clip, make, monkeypatch):
    write_clip("a.mp4")
    write_clip("b.mp4", 50, frames=33)
    whole = (tmp_path / "b.mp4").read_bytes()
    start, end = whole.index(b"moov") - 150, whole.index(b"moov") - 4
    (tmp_path / "b.mp4").write_bytes(whole[:start] + b"\xff" * (end - start) + whole[end:])
    age(tmp_path)
    rows, buckets = [row("a.mp4"), row("b.mp4")], "64x64x9;64x64x33"
    first = make(rows, buckets=buckets)
    assert [name for name, _ in first.skipped] == ["b.mp4"]
    before = snapshot(first.root)
    with monkeypatch.context() as context:
        context.setattr("ltxv_train_core.preprocessing.model_encoders.find_encoders", pytest.fail)
        again = make(rows, buckets=buckets)
    reason = first.skipped[0][1]
    why = f"{reason}. That was in an earlier pass: recheck_files tries again"
    assert again.skipped == (("b.mp4", why),)
    assert (again.written, again.reused, snapshot(first.root)) == (0, 2, before)

    assert make(rows, buckets=buckets, recheck_files=True).skipped == first.skipped
    assert make(rows).skipped == ()  # its first frames can be read
    (tmp_path / "b.mp4").write_bytes(whole)
    assert make(rows, buckets=buckets).skipped == ()


def test_ten_thousand_rows_are_begun_within_two_seconds(tmp_path, write_clip):
    write_clip("a.mp4")
    age(tmp_path)
    rows = []
    for i in range(10_000):
        os.link(tmp_path / "a.mp4", tmp_path / f"{i:05d}.mp4")
        rows.append(json.dumps({"media_path": f"{i:05d}.mp4", "caption": f"caption {i}"}))
    (tmp_path / "data.jsonl").write_text("\n".join(rows), encoding="utf-8")
    stop, begun = threading.Event(), []

    def watch(event):
        if event == Progress("inspect clips", 20, 10_000, "clip"):
            begun.append(time.process_time())  # that of this process: the machine may be busy
            stop.set()

    started = time.process_time()
    with pytest.raises(Cancelled):
        preprocess(PreprocessSettings(tmp_path / "data.jsonl", MINIATURE, "64x64x9"), watch, stop)
    assert begun[0] - started < 2


def test_files_are_looked_at_before_torch_is_there():
    code = "import sys, ltxv_train_core.cli, ltxv_train_core.preprocessing.preprocess as p; "
    code += "sys.exit(any(name in sys.modules for name in ('torch', 'diffusers', 'transformers')))"
    root = Path(__file__).parents[3]
    assert subprocess.run([sys.executable, "-c", code], cwd=root, check=False).returncode == 0


def test_memory_does_not_grow_with_the_number_of_clips(tmp_path, write_clip):
    """Of 24 clips of 6 MB each, never more than a few are held."""
    write_clip("a.mp4", frames=121, width=256)
    rows = [{"media_path": "a.mp4", "caption": f"{i}"} for i in range(24)]
    (tmp_path / "data.json").write_text(json.dumps(rows), encoding="utf-8")
    clip_bytes = 121 * 64 * 256 * 3
    held = []

    class Shape:
        def encode(self, frames):
            held.append(tracemalloc.get_traced_memory()[0])
            return torch.zeros(len(frames), 128, 16, 2, 8)

    settings = PreprocessSettings(tmp_path / "data.json", MINIATURE, "256x64x121", decode_threads=2)
    tracemalloc.start()
    try:
        preprocess(settings, encoders={VAE: EncoderSource("shape", Shape)})
    finally:
        tracemalloc.stop()
    assert len(held) == 24
    assert max(held[12:]) - max(held[:4]) < clip_bytes
    assert max(held) < 6 * clip_bytes + 20e6


def test_orphans_are_told_and_removed_only_when_asked(write_clip, make):
    for name in ("a.mp4", "b.mp4"):
        write_clip(name)
    root = make([row("a.mp4"), row("b.mp4")]).root
    second = read_index(root).items[1]
    (root / "latents" / "mine.txt").write_text("kept", encoding="utf-8")
    summary = make([row("a.mp4")])
    orphans = tuple(sorted(stored.path for stored in second.files))
    assert summary.orphans == orphans
    assert "2 files are named by no index of the folder, for example conditions/b" in summary.text
    assert all((root / name).is_file() for name in orphans)
    removed = make([row("a.mp4")], remove_orphans=True)
    assert removed.orphans == orphans
    assert "2 files that no index of the folder names were removed" in removed.text
    assert not any((root / name).exists() for name in orphans)
    assert (root / "latents" / "mine.txt").is_file()
    assert make([row("a.mp4")]).orphans == ()


def test_two_who_write_a_file_at_once_both_succeed(tmp_path):
    """On a shared drive their process ids may be equal."""
    with atomic_path(tmp_path / "a.txt") as one, atomic_path(tmp_path / "a.txt") as two:
        one.write_text("one", encoding="utf-8")
        two.write_text("two", encoding="utf-8")
    assert (tmp_path / "a.txt").read_text(encoding="utf-8") == "one"
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]


@pytest.mark.skipif(sys.platform == "win32", reason="here the system it waits on is pretended")
def test_an_index_that_somebody_reads_on_windows_is_waited_for(write_clip, make, monkeypatch):
    write_clip("a.mp4")
    root = make([row("a.mp4")]).root
    replace, refused = Path.replace, []

    def refuse_three_times(self, target):
        if target.name == "index.json" and len(refused) < 3:
            refused.append(target)
            raise PermissionError
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", refuse_three_times)
    with pytest.raises(PermissionError):
        make([row("a.mp4", "another")])
    # Only that name: pathlib asks os.name when a path is made.
    monkeypatch.setattr(
        "ltxv_train_core.storage.atomic.os", SimpleNamespace(**vars(os) | {"name": "nt"})
    )
    refused.clear()
    assert make([row("a.mp4", "a third")]).written == 1
    assert refused == [root / "index.json"] * 3


@pytest.mark.skipif(sys.platform != "linux", reason="forks, to be spared the imports")
def test_a_killed_pass_goes_on_where_it_was(tmp_path, write_clip):
    for i in range(12):
        write_clip(f"{i}.mp4", 20 * i, frames=33, width=256)
        (tmp_path / f"{i}.txt").write_text(f"caption {i}", encoding="utf-8")
    settings = PreprocessSettings(tmp_path, MINIATURE, "256x64x33")
    process = get_context("fork").Process(target=preprocess, args=(settings,))
    process.start()
    latents = settings.root / "latents"
    deadline = time.monotonic() + 120
    while len(list(latents.glob("[0-9]*.safetensors"))) < 2 and process.is_alive():
        assert time.monotonic() < deadline
        time.sleep(0.005)
    process.kill()
    process.join()
    done = len(list(latents.glob("[0-9]*.safetensors")))
    assert 2 <= done < 12
    summary = preprocess(settings)
    assert (summary.written, summary.reused) == (24 - done, done)
    assert len(read_index(summary.root).items) == 12


def test_what_a_killed_pass_has_left_is_removed_and_nothing_else(tmp_path):
    source = generate("stripes", tmp_path / "clips", clips=1).metadata
    root = preprocess(PreprocessSettings(source, "LTXV_MINIATURE", "64x64x9")).root
    tensor = next((root / "latents").rglob("*.safetensors"))
    left = tensor.with_name(f".{tensor.stem}.0123abcd.part.safetensors")
    older = tensor.with_name(".tmpAb3dE9")
    written_now = tensor.with_name(f".{tensor.stem}.abcd0123.part.safetensors")
    theirs = tensor.with_name(".tmpnotes")
    for path in (left, older, written_now, theirs):
        path.touch()
    for path in (left, older, theirs):
        os.utime(path, (1e9, 1e9))
    os.utime(written_now, (4e9, 4e9))
    again = preprocess(PreprocessSettings(source, "LTXV_MINIATURE", "64x64x9"))
    assert again.orphans == (written_now.relative_to(root).as_posix(),)
    assert {path.name for path in tensor.parent.iterdir()} == {
        tensor.name,
        written_now.name,
        theirs.name,
    }
