"""Checkpoints on the disk: which one is taken, which are kept, what counts as one."""

import sys
import tempfile
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from ltxv_train_core.errors import NotFiniteError
from ltxv_train_core.events import Notice
from ltxv_train_core.training import checkpoint, recovery
from ltxv_train_core.training.checkpoint import STATE, WEIGHTS, CheckpointError, TrainingState


def state(step, value=0.0):
    return TrainingState(step, {"a": torch.full((2,), value)}, {"step": step, "more": [1, "x"]})


def save(folder, *steps):
    return [checkpoint.save_checkpoint(folder, state(step, float(step))) for step in steps]


def damage(path):
    (path / WEIGHTS).write_bytes(b"torn")


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_what_is_saved_is_loaded(tmp_path):
    assert checkpoint.load_latest(tmp_path / "none") is None
    (path,) = save(tmp_path, 7)
    assert path == checkpoint.place(tmp_path, 7) == tmp_path / "000007"
    assert names(path) == [STATE, WEIGHTS]
    found = checkpoint.load_latest(tmp_path)
    assert (found.step, found.state) == (7, {"step": 7, "more": [1, "x"]})
    assert torch.equal(found.weights["a"], torch.full((2,), 7.0))
    assert checkpoint.place(tmp_path, 1234567).name == "1234567"


def test_broken_weights_leave_the_folder_as_it_was(tmp_path):
    save(tmp_path, 1)
    with pytest.raises(NotFiniteError):
        checkpoint.save_checkpoint(tmp_path, state(2, float("nan")))
    assert names(tmp_path) == ["000001"]


@settings(max_examples=15, deadline=None, derandomize=True)
@given(
    first=st.sets(st.integers(0, 12), max_size=3),
    second=st.sets(st.integers(0, 12), max_size=3),
    broken=st.sets(st.integers(0, 12), max_size=6),
)
def test_the_newest_that_can_be_read_is_taken(tmp_path_factory, first, second, broken):
    """Of the same step the one in the first folder."""
    folders = [tmp_path_factory.mktemp("run") / name for name in ("checkpoints", "recovery")]
    for folder, steps in zip(folders, (first, second), strict=True):
        for step in steps:
            value = step + 100.0 * (folder is folders[1])
            path = checkpoint.save_checkpoint(folder, state(step, value))
            if step in broken and folder is folders[0]:
                damage(path)
    told = []
    whole = [(step, 1) for step in first - broken] + [(step, 0) for step in second]
    assert checkpoint.exists(*folders) == bool(first or second)
    if not whole:
        if first:
            with pytest.raises(CheckpointError, match="no checkpoint can be read"):
                checkpoint.load_latest(*folders)
        return
    step, is_first = max(whole)
    found = checkpoint.load_latest(*folders, report=told.append)
    assert found.step == step
    assert found.weights["a"][0] == step + (0 if is_first else 100)
    newer = [s for s in first & broken if (s, 1) > (step, is_first)]
    assert len(told) == len(newer)


def test_a_damaged_one_is_told_and_passed_over(tmp_path):
    paths, told = save(tmp_path / "checkpoints", 1, 2, 10), []
    damage(paths[2])
    assert checkpoint.load_latest(tmp_path / "checkpoints", report=told.append).step == 2
    (notice,) = told
    assert isinstance(notice, Notice)
    assert notice.message.startswith("checkpoints/000010 can't be read (ModelError: ")
    assert notice.message.endswith("); taking the one before")


@pytest.mark.parametrize("count", [1, 3, 4, 6])
def test_of_many_damaged_ones_three_are_named(tmp_path, count):
    for path in save(tmp_path / "checkpoints", *range(count)):
        damage(path)
    with pytest.raises(CheckpointError) as told:
        checkpoint.load_latest(tmp_path / "checkpoints")
    text = str(told.value)
    assert text.startswith(f"{tmp_path}: no checkpoint can be read: checkpoints/{count - 1:06d} (")
    assert text.count("ModelError") == min(count, 3)
    assert (f" and {count - 3} more. Delete" in text) == (count > 3)


def test_what_does_not_fit_is_damaged_unless_it_is_of_another_run(tmp_path):
    save(tmp_path, 1, 2)
    used = []

    def use(found):
        used.append(found.step)
        if found.step == 2:
            raise KeyError("mover")

    assert checkpoint.load_latest(tmp_path, use=use).step == 1
    assert used == [2, 1]
    for error in (CheckpointError("other layers"), MemoryError(), torch.cuda.OutOfMemoryError()):

        def refuse(found, error=error):
            raise error

        with pytest.raises(type(error)):
            checkpoint.load_latest(tmp_path, use=refuse)


def test_weights_of_another_step_and_a_state_of_another_kind_are_damaged(tmp_path):
    one, two, three = save(tmp_path, 1, 2, 3)
    (two / WEIGHTS).write_bytes((one / WEIGHTS).read_bytes())
    torch.save([1], three / STATE)
    told = []
    assert checkpoint.load_latest(tmp_path, report=told.append).step == 1
    assert "state.pt is no dictionary" in told[0].message
    assert "its weights are of step '1'" in told[1].message
    save_file(load_file(two / WEIGHTS), two / WEIGHTS)
    assert checkpoint.load_latest(tmp_path).step == 2, "earlier versions wrote no step"


@settings(max_examples=25, deadline=None, derandomize=True)
@given(
    steps=st.sets(st.integers(0, 20), min_size=1, max_size=6),
    count=st.integers(-1, 6),
    which=st.integers(0, 5),
)
def test_so_many_stay_and_the_newest_always(tmp_path_factory, steps, count, which):
    """Those of later steps too: the next save of the step takes their place."""
    folder = tmp_path_factory.mktemp("kept")
    ordered = sorted(steps)
    newest = ordered[which % len(ordered)]
    for step in steps:
        checkpoint.place(folder, step).mkdir()
    checkpoint.keep_newest(checkpoint.place(folder, newest), count)
    before = [step for step in ordered if step < newest]
    kept = before if count < 0 else before[len(before) - max(count - 1, 0) :] if count > 1 else []
    wanted = [*kept, *(step for step in ordered if step >= newest)]
    assert [int(name) for name in names(folder)] == wanted


def test_what_has_another_name_or_is_no_folder_is_no_checkpoint(tmp_path):
    for name in ("7", "0000008", "-00009", "00000a", ".000010.abc.part"):
        (tmp_path / name).mkdir()
    (tmp_path / "000011").write_text("a file")
    assert not checkpoint.exists(tmp_path)
    assert checkpoint.load_latest(tmp_path) is None
    assert not checkpoint.exists(tmp_path / "000011")
    save(tmp_path, 3)
    assert checkpoint.exists(tmp_path / "none", tmp_path)


@pytest.mark.skipif(sys.platform == "win32", reason="not everybody may make links there")
def test_one_that_can_not_be_removed_is_told(tmp_path):
    save(tmp_path, 2, 3)
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "000001").symlink_to(tmp_path / "elsewhere")
    told = []
    checkpoint.keep_newest(tmp_path / "000003", 1, told.append)
    assert names(tmp_path) == ["000001", "000003", "elsewhere"]
    (notice,) = told
    assert notice.message.startswith("checkpoint 000001 can't be removed: ")


@pytest.fixture
def clock(monkeypatch):
    now = [1000.0]
    monkeypatch.setattr(recovery.time, "monotonic", lambda: now[0])
    return now


@settings(max_examples=30, deadline=None, derandomize=True)
@given(duration=st.floats(0, 60))
def test_a_recovery_point_is_due_after_a_minute_then_ten_or_a_hundred_times_its_writing(duration):
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory() as folder:
        now = [1000.0]
        patch.setattr(recovery.time, "monotonic", lambda: now[0])
        points = recovery.RecoveryPoints(Path(folder) / "recovery", lambda event: None)

        def make():
            now[0] += duration
            return state(1)

        now[0] += 59.9
        assert not points.is_due()
        now[0] += 0.1
        assert points.is_due()
        points.write(make)
        pause = max(600, 100 * duration)
        now[0] += pause - 0.1
        assert not points.is_due()
        now[0] += 0.2
        assert points.is_due()
        points.give_way()
        assert not points.folder.exists()
        now[0] += pause - 0.1
        assert not points.is_due(), "a checkpoint counts as well"


def test_one_recovery_point_is_kept_and_a_failure_is_told_once(tmp_path, clock):
    told = []
    points = recovery.RecoveryPoints(tmp_path / "recovery", told.append)
    for step in (1, 2):
        points.write(lambda step=step: state(step))
    assert names(tmp_path / "recovery") == ["000002"]
    clock[0] += 600
    assert points.is_due()

    def fail():
        raise OSError("no space left")

    points.write(fail)
    assert not points.is_due(), "it is tried again after a while"
    points.write(fail)
    (notice,) = told
    assert notice.message.startswith("no recovery point can be written: no space left. Training")
    assert names(tmp_path / "recovery") == ["000002"]


def test_leftovers_of_a_kill_are_removed_and_nothing_else(tmp_path):
    for name in (".x.12ab.part", "weights/.y.0.part.safetensors", ".notes", "z.12ab.part"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("x")
    (tmp_path / ".000004.12ab.part").mkdir()
    (tmp_path / ".000004.12ab.part" / STATE).write_text("x")
    checkpoint.remove_leftovers(tmp_path)
    assert names(tmp_path) == [".notes", "weights", "z.12ab.part"]
    assert names(tmp_path / "weights") == []
