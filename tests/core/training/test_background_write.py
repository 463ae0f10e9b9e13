"""Large checkpoints are written while the next steps run; what is on the disk is the same."""

import threading

import psutil
import pytest
import torch
from safetensors.torch import load_file

from ltxv_train_core.events import CheckpointWritten, Control, Notice, StepCompleted
from ltxv_train_core.runs import RunFolder
from ltxv_train_core.runs.failures import RunFailedError
from ltxv_train_core.storage.torch_files import read_torch_file
from ltxv_train_core.training import background_write, checkpoint
from ltxv_train_core.training.trainer import train

OPTIONS = {
    "optimization": {"steps": 6, "batch_size": 1, "ema_decay": 0.9},
    "checkpoints": {"interval": 2, "keep_last_n": -1},
}


@pytest.fixture
def always(monkeypatch):
    """However small, a checkpoint is written by a thread."""
    monkeypatch.setattr(background_write, "LEAST_BYTES", 0)


@pytest.fixture
def gate(monkeypatch):
    """Holds back each write until it is set; names of the threads that write."""
    opened, threads, save = threading.Event(), [], checkpoint.save_checkpoint

    def write(folder, state):
        threads.append(threading.current_thread().name)
        opened.wait(30)
        return save(folder, state)

    monkeypatch.setattr(checkpoint, "save_checkpoint", write)
    return opened, threads


def contents(folder):
    """All tensors and numbers of a run's checkpoints."""
    found = {}
    for path in sorted(folder.glob("checkpoints/*")):
        found[path.name] = (
            load_file(path / "weights.safetensors"),
            read_torch_file(path / "state.pt"),
        )
    return found


def equal(a, b):
    if isinstance(a, torch.Tensor):
        return torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(equal(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(equal, a, b))
    return a == b


def test_the_steps_go_on_and_the_files_are_those_of_their_own_step(
    training_config, tmp_path, always, monkeypatch
):
    monkeypatch.setattr(background_write, "LEAST_BYTES", 2**60)
    plain = train(training_config(**OPTIONS, output_dir=str(tmp_path / "plain")))
    monkeypatch.setattr(background_write, "LEAST_BYTES", 0)
    opened, events, save = threading.Event(), [], checkpoint.save_checkpoint
    monkeypatch.setattr(
        checkpoint, "save_checkpoint", lambda *given: (opened.wait(30), save(*given))[1]
    )

    def report(event):
        events.append(event)
        if isinstance(event, StepCompleted) and event.step == 3:
            assert not list((tmp_path / "two").glob("*/checkpoints/000002"))
            opened.set()

    threaded = train(training_config(**OPTIONS, output_dir=str(tmp_path / "two")), report)
    kept = [event for event in events if isinstance(event, StepCompleted | CheckpointWritten)]
    written = [event.step for event in kept if isinstance(event, CheckpointWritten)]
    assert written == [2, 4, 6]
    assert kept.index(next(e for e in kept if isinstance(e, CheckpointWritten))) >= 3, (
        "after step 3"
    )
    ours, theirs = contents(threaded.run_folder), contents(plain.run_folder)
    assert list(ours) == ["000002", "000004", "000006"]
    for name, (weights, state) in theirs.items():
        assert equal(ours[name][0], weights)
        assert equal(ours[name][1], state)


def test_what_the_thread_could_not_write_ends_the_run(
    training_config, tmp_path, always, monkeypatch
):
    save, failed = checkpoint.save_checkpoint, []

    def write(folder, state):
        if state.step == 2 and not failed:
            failed.append(state.step)
            raise OSError(28, "No space left on device")
        return save(folder, state)

    monkeypatch.setattr(checkpoint, "save_checkpoint", write)
    config = training_config(**OPTIONS)
    with pytest.raises(RunFailedError, match="No space left"):
        train(config)
    (folder,) = [path.parent for path in tmp_path.rglob("run.json")]
    state = RunFolder(folder).written_state()
    assert (state.status, state.cause.kind) == ("failed", "disk_full")
    assert state.step == 3, "the whole steps until then are saved"
    assert train(config).finished


def test_a_stop_waits_for_its_checkpoint(training_config, tmp_path, always, gate):
    opened, threads = gate
    control = Control()

    def report(event):
        if isinstance(event, StepCompleted) and event.step == 3:
            control.stop()
            opened.set()

    result = train(training_config(**OPTIONS), report, control)
    assert result.step == 3
    assert set(threads) == {"ltxv-train-checkpoint"}
    state = RunFolder(result.run_folder).written_state()
    assert (state.status, state.step) == ("stopped", 3)
    assert sorted(path.name for path in result.run_folder.glob("checkpoints/*")) == [
        "000002",
        "000003",
    ]
    assert train(training_config(**OPTIONS)).finished


@pytest.mark.long
def test_without_room_for_a_copy_the_run_waits_for_the_disk(
    training_config, always, gate, monkeypatch
):
    opened, threads = gate
    opened.set()
    memory = psutil.virtual_memory()
    monkeypatch.setattr(
        psutil, "virtual_memory", lambda: memory._replace(available=memory.total // 4)
    )
    notices = []
    result = train(training_config(**OPTIONS), notices.append)
    assert result.finished
    assert "ltxv-train-checkpoint" not in threads
    assert not [e for e in notices if isinstance(e, Notice) and e.is_problem]


def test_a_state_of_less_than_64_mib_is_worth_no_copy():
    weights = torch.zeros(2**24)
    smaller = checkpoint.TrainingState(1, {"a": weights[1:]}, {})
    assert background_write.copied(smaller) is None
    copy = background_write.copied(checkpoint.TrainingState(1, {"a": weights}, {"b": [2]}))
    assert copy.weights["a"].shape == weights.shape
    assert copy.weights["a"].data_ptr() != weights.data_ptr()
    assert copy.state == {"b": [2]}
