"""Several processes encode one data set into one cache, with one index at the end."""

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import psutil
import pytest

from ltxv_train_core.datasets.dataset import TrainingDataset
from ltxv_train_core.datasets.index import index_paths
from ltxv_train_core.events import Progress
from ltxv_train_core.media.sound import Sound
from ltxv_train_core.media.write import write_exact_sound
from ltxv_train_core.preprocessing.preprocess import PreprocessSettings, encode_share, preprocess
from tests.core.conftest import MINIATURE
from tests.helpers.teams import share
from tests.helpers.tiny_captioner import write_tiny_captioner
from tests.helpers.tiny_whisper import write_tiny_whisper

ROOT = Path(__file__).parents[3]


@pytest.fixture
def source(write_clip, tmp_path):
    """Five clips, of which one is broken."""
    rows = []
    for i in range(5):
        write_clip(f"{i}.mp4", 40 * i)
        rows.append({"media_path": f"{i}.mp4", "caption": f"clip {i}"})
    (tmp_path / "3.mp4").write_bytes(b"no video")
    (tmp_path / "data.json").write_text(json.dumps(rows), encoding="utf-8")
    return tmp_path / "data.json"


def test_each_encodes_its_share_and_one_index_holds_them_all(source, tmp_path):
    settings = PreprocessSettings(source, MINIATURE, "64x64x9", output_dir=tmp_path / "together")
    totals: list = [0, 0]

    def work(team):
        def report(event):
            if isinstance(event, Progress) and event.phase == "encode videos":
                totals[team.rank] = event.total

        encode_share(settings, team, report)

    share(2, work)
    assert totals == [3, 1], "of the clips 0, 2, 4 and of 1, 3"
    assert index_paths(settings.root) == []
    summary = preprocess(settings)
    assert (summary.written, summary.reused) == (0, 4 + 4)
    assert [name for name, _ in summary.skipped] == ["3.mp4"]
    alone = preprocess(PreprocessSettings(source, MINIATURE, "64x64x9", output_dir=tmp_path / "a"))
    assert TrainingDataset(summary.root).fingerprint() == TrainingDataset(alone.root).fingerprint()


def test_a_share_without_a_usable_clip_stops_nobody(write_clip, tmp_path):
    write_clip("0.mp4")
    (tmp_path / "1.mp4").write_bytes(b"no video")
    rows = [{"media_path": f"{i}.mp4", "caption": "x"} for i in range(2)]
    (tmp_path / "data.json").write_text(json.dumps(rows), encoding="utf-8")
    settings = PreprocessSettings(tmp_path / "data.json", MINIATURE, "64x64x9")
    share(3, lambda team: encode_share(settings, team))
    assert len(TrainingDataset(preprocess(settings).root)) == 1


def launched(*arguments, processes=3):
    """Processes that `accelerate launch` has started."""
    return subprocess.Popen(
        [
            *(sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu"),
            *("--num_processes", str(processes), "--num_machines", "1"),
            *("--main_process_port", "0", "--mixed_precision", "no", "--dynamo_backend", "no"),
            *("-m", "ltxv_train_core", *map(str, arguments)),
        ],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def preprocessing(source):
    return ("preprocess", source, "--model-source", MINIATURE, "--resolution-buckets", "64x64x9")


@pytest.mark.kills
def test_accelerate_launch_starts_three_that_share_the_clips(source):
    process = launched(*preprocessing(source))
    output, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors
    counts = json.loads(output.strip().splitlines()[-1])
    assert (counts["written"], counts["reused"], counts["skipped"]) == (0, 8, 1)
    root = source.parent / ".precomputed"
    assert len(TrainingDataset(root)) == 4


@pytest.mark.kills
def test_where_one_of_three_is_killed_the_next_pass_encodes_what_is_missing(source):
    """Without an index nobody takes a part of the clips for all of them."""
    root = source.parent / ".precomputed"
    process = launched(*preprocessing(source))
    until = time.monotonic() + 200
    while not any(root.rglob("*.safetensors")) and time.monotonic() < until:
        time.sleep(0.01)
    os.kill(rank_of(process, 1).pid, signal.SIGKILL)
    process.communicate(timeout=120)
    assert process.returncode != 0
    assert index_paths(root) == []
    again = preprocess(PreprocessSettings(source, MINIATURE, "64x64x9"))
    assert again.reused > 0
    assert again.written + again.reused == 8
    assert len(TrainingDataset(again.root)) == 4
    assert not [path for path in root.rglob("*") if path.suffix == ".part"]


def rank_of(process, rank):
    """The process of this rank."""
    for each in psutil.Process(process.pid).children(recursive=True):
        with suppress(psutil.Error):
            if each.environ().get("RANK") == str(rank):
                return each
    raise AssertionError(f"there is no process {rank}")


@pytest.mark.kills
def test_three_processes_caption_a_folder(write_clip, tmp_path):
    for i in range(4):
        write_clip(f"clips/{i}.mp4", 40 * i)
    model = write_tiny_captioner(tmp_path / "captioner")
    process = launched("caption", tmp_path / "clips", "--model", model, "--max-new-tokens", 6)
    _, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors
    written = tmp_path / "clips" / "dataset.json"
    rows = json.loads(written.read_text("utf-8"))
    assert [row["media_path"] for row in rows] == [f"{i}.mp4" for i in range(4)]
    assert all(row["caption"] for row in rows)


@pytest.mark.kills
def test_three_processes_write_down_what_is_said(tmp_path):
    pytest.importorskip("faster_whisper", reason='pip install "ltxv-train[transcription]"')
    samples = np.random.default_rng(0).normal(0, 0.2, (2, 16000)).astype(np.float32)
    (tmp_path / "clips").mkdir()
    for i in range(4):
        write_exact_sound(tmp_path / "clips" / f"{i}.wav", Sound(samples, 16000))
    model = write_tiny_whisper(tmp_path / "whisper", "Hello")
    process = launched("transcribe", tmp_path / "clips", "--model", model)
    output, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors
    assert output.count("texts written") == 1
    written = tmp_path / "clips" / "dataset.json"
    rows = json.loads(written.read_text("utf-8"))
    assert [(row["media_path"], row["speech"]) for row in rows] == [
        (f"{i}.wav", "Hello") for i in range(4)
    ]
    assert not list(written.parent.glob("*.jsonl"))
