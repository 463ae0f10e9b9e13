"""What trackers write of a run, read with their own readers."""

import builtins
import struct
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ltxv_train_core import config, trackers
from ltxv_train_core.config import TrainingConfig
from ltxv_train_core.events import Notice, PermissionAsked, SamplesWritten, StepCompleted
from ltxv_train_core.media.write import write_video
from ltxv_train_core.permissions import CommandLine, GrantFile, default_file, use
from ltxv_train_core.training.trainer import train

ACCOUNT = "ada-lovelace"
LOG_BLOCK = 32768


@pytest.fixture
def folder(tmp_path) -> Path:
    folder = tmp_path / "rings-0123456789ab"
    folder.mkdir()
    write_video(folder / "000.mp4", np.zeros((9, 32, 64, 3), np.uint8), 25)
    Image.new("RGB", (64, 32), "red").save(folder / "sheet.png")
    return folder


def settings(**options) -> TrainingConfig:
    data = {"preprocessed_data_root": "data"}
    return config.build(TrainingConfig, {"data": data, "trackers": options})


def step(number: int) -> StepCompleted:
    return StepCompleted(number, 9, 1 / number, 1e-4, 0.5, 0.1, 1.0)


def tell(wanted: TrainingConfig, folder: Path, steps: range) -> list:
    """A part of a run: its steps, and samples after the last one."""
    told: list = []
    with trackers.tracked(wanted, folder, told.append) as report:
        for number in steps:
            report(step(number))
        report(SamplesWritten(steps[-1], (folder / "000.mp4",), folder / "sheet.png"))
    return told


def read_tensorboard(folder: Path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    return EventAccumulator(str(folder / "tensorboard")).Reload()


def test_events_go_on_to_the_reporter_and_without_a_tracker_nothing_is_written(folder):
    before = set(folder.iterdir())
    told = tell(settings(), folder, range(1, 3))
    assert [type(event) for event in told] == [StepCompleted, StepCompleted, SamplesWritten]
    assert set(folder.iterdir()) == before


def test_tensorboard_counts_each_step_once_over_a_crash(folder):
    pytest.importorskip("tensorboard")
    wanted = settings(tensorboard=True)
    tell(wanted, folder, range(1, 6))
    tell(wanted, folder, range(4, 8))  # goes on from the checkpoint of step 3
    read = read_tensorboard(folder)
    assert [event.step for event in read.Scalars("train/loss")] == [1, 2, 3, 4, 5, 6, 7]
    assert read.Scalars("train/loss")[1].value == 0.5
    assert {"train/learning_rate", "train/grad_norm"} < set(read.Tags()["scalars"])
    assert "train/audio_loss" not in read.Tags()["scalars"]
    (image,) = read.Images("validation")
    assert (image.step, image.width, image.height) == (7, 64, 32)


def test_samples_are_left_out_when_they_are_not_wanted(folder):
    pytest.importorskip("tensorboard")
    tell(settings(tensorboard=True, log_validation_videos=False), folder, range(1, 3))
    assert read_tensorboard(folder).Tags()["images"] == []


def test_a_tracker_that_fails_is_told_once_and_the_run_goes_on(folder):
    pytest.importorskip("tensorboard")
    (folder / "tensorboard").write_text("in the way", encoding="utf-8")
    told = tell(settings(tensorboard=True), folder, range(1, 4))
    assert sum(isinstance(event, StepCompleted) for event in told) == 3
    (notice,) = [event.message for event in told if isinstance(event, Notice)]
    assert notice.startswith("the run continues without tensorboard: ")


@pytest.fixture
def sending() -> Iterator[None]:
    """As with `train --push`."""
    use(CommandLine(GrantFile(default_file()), leaves=True))
    yield
    use(None)


def test_a_run_is_not_logged_where_that_was_not_allowed(folder, monkeypatch):
    monkeypatch.delenv("WANDB_MODE", raising=False)
    told = tell(settings(wandb=True, entity=ACCOUNT), folder, range(1, 3))
    assert [type(event) for event in told[1:]] == [StepCompleted, StepCompleted, SamplesWritten]
    assert told[0] == PermissionAsked("entities", ACCOUNT)
    assert not (folder / "wandb").exists()
    (line,) = trackers.tracker_remarks(settings(wandb=True).trackers)
    assert "Weights & Biases of your own login were not allowed" in line
    monkeypatch.setenv("WANDB_MODE", "offline")
    assert trackers.tracker_remarks(settings(wandb=True).trackers) == []


def test_a_missing_package_is_named_before_training(sending, monkeypatch):
    monkeypatch.setattr(trackers, "find_spec", lambda name: None)
    lines = trackers.missing_packages(settings(tensorboard=True, wandb=True).trackers)
    assert [line.split(":")[0] for line in lines] == ["trackers.tensorboard", "trackers.wandb"]
    assert "pip install wandb" in lines[1]
    assert trackers.missing_packages(settings().trackers) == []


def test_trackers_are_not_imported_unless_they_are_wanted(folder, monkeypatch):
    real = builtins.__import__

    def forbid(name, *arguments, **options):
        assert name.split(".")[0] not in ("wandb", "tensorboard")
        return real(name, *arguments, **options)

    monkeypatch.setattr(builtins, "__import__", forbid)
    tell(settings(), folder, range(1, 3))


@pytest.mark.long
def test_wandb_offline_gets_steps_videos_and_no_account_in_the_configuration(
    folder, tmp_path, monkeypatch
):
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    for name in ("WANDB_CONFIG_DIR", "WANDB_CACHE_DIR", "WANDB_DATA_DIR"):
        monkeypatch.setenv(name, str(tmp_path / name))
    wanted = settings(wandb=True, project="shapes", entity=ACCOUNT, tags=["red", "blue"])
    told = tell(wanted, folder, range(1, 4))
    assert [event for event in told if isinstance(event, Notice)] == []
    records = _wandb_records(folder)
    (run,) = [r.run for r in records if r.WhichOneof("record_type") == "run"][:1]
    assert (run.project, run.display_name) == ("shapes", folder.name)
    assert list(run.tags) == ["red", "blue"]
    assert run.run_id == (folder / "wandb_id.txt").read_text(encoding="utf-8")
    assert ACCOUNT not in str(run.config)
    rows = [
        {item.key or ".".join(item.nested_key): item.value_json for item in r.history.item}
        for r in records
        if r.WhichOneof("record_type") == "history"
    ]
    assert [row["step"] for row in rows] == ["1", "2", "3", "3"]
    assert [row["train/loss"] for row in rows[:2]] == ["1", "0.5"]
    assert len(list(folder.glob("wandb/offline-run-*/files/media/**/*.mp4"))) == 1


def _wandb_records(folder: Path) -> list:
    """The records of an ended offline run. W&B's own process writes the last ones a bit later."""
    deadline = time.monotonic() + 20
    while True:
        (file,) = folder.glob("wandb/offline-run-*/*.wandb")
        records = _read_log(file.read_bytes())
        if any(record.WhichOneof("record_type") == "exit" for record in records):
            return records
        assert time.monotonic() < deadline
        time.sleep(0.05)


def _read_log(content: bytes) -> list:
    """LevelDB's log format behind a header of 7 bytes; an unfinished record is left out."""
    from wandb.proto.wandb_internal_pb2 import Record

    place, whole, records = 7, b"", []
    while place + 7 <= len(content):
        left_in_block = LOG_BLOCK - place % LOG_BLOCK
        if left_in_block < 7:
            place += left_in_block
            continue
        _, length, kind = struct.unpack_from("<IHB", content, place)
        place += 7 + length
        if place > len(content):
            break
        whole += content[place - length : place]
        if kind in (1, 4):  # a whole record, or the last part of one
            records.append(Record.FromString(whole))
            whole = b""
    return records


def test_a_run_is_followed_and_says_what_it_does_not_use(training_config):
    pytest.importorskip("tensorboard")
    told: list = []
    wanted = training_config(trackers={"tensorboard": True, "entity": ACCOUNT})
    result = train(wanted, told.append)
    steps = [event for event in told if isinstance(event, StepCompleted)]
    shown = read_tensorboard(result.run_folder).Scalars("train/loss")
    assert [event.step for event in shown] == [1, 2, 3, 4]
    assert [event.value for event in shown] == pytest.approx([event.loss for event in steps])
    messages = [event.message for event in told if isinstance(event, Notice)]
    assert any(message.startswith("trackers.entity: is not used") for message in messages)
