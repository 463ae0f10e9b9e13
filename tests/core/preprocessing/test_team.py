"""Several processes encode one data set into one cache, with one index at the end."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from ltxv_train_core.datasets.dataset import TrainingDataset
from ltxv_train_core.datasets.index import index_paths
from ltxv_train_core.events import Progress
from ltxv_train_core.preprocessing.preprocess import PreprocessSettings, encode_share, preprocess
from tests.core.conftest import MINIATURE
from tests.helpers.teams import share

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


@pytest.mark.kills
def test_accelerate_launch_starts_them(source, tmp_path):
    launch = [
        *(
            sys.executable,
            "-m",
            "accelerate.commands.launch",
            "--multi_gpu",
            "--num_processes",
            "2",
        ),
        *("--num_machines", "1", "--main_process_port", "0", "--mixed_precision", "no"),
        *("--dynamo_backend", "no", "-m", "ltxv_train_core", "preprocess", str(source)),
        *("--model-source", MINIATURE, "--resolution-buckets", "64x64x9"),
    ]
    ran = subprocess.run(
        launch,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
        timeout=200,
    )
    assert ran.returncode == 0, ran.stderr
    lines = ran.stdout.strip().splitlines()
    counts = json.loads(lines[-1])
    assert (counts["written"], counts["reused"], counts["skipped"]) == (0, 8, 1)
    (line,) = [line for line in lines if line.startswith("preprocessed data: ")]
    assert len(TrainingDataset(Path(line.removeprefix("preprocessed data: ")))) == 4
