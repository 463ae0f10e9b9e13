"""Training in processes of its own."""

import os
import shutil
import socket
import threading
import time
from itertools import islice
from multiprocessing import AuthenticationError, Pipe
from pathlib import Path

import psutil
import pytest
from safetensors.torch import load_file

from ltxv_train_core.config import yaml_file
from ltxv_train_core.events import EventQueue, Notice, SamplesWritten, StepCompleted
from ltxv_train_core.jobs import ipc, subprocess_trainer
from ltxv_train_core.jobs.ipc import WorkerListener, connect, to_event, to_message
from ltxv_train_core.runs import RunBusyError, RunWriter
from ltxv_train_core.runs.failures import RunFailedError
from ltxv_train_core.runs.library import current_state
from ltxv_train_core.training.run_plan import plan_run
from ltxv_train_core.training.trainer import train
from tests.helpers.together import train_together

ROOT = Path(__file__).parents[3]


def tensor_bytes(path):
    return {name: value.numpy().tobytes() for name, value in load_file(path).items()}


def until(condition, seconds=120):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come to that"
        time.sleep(0.01)


def test_events_pass_as_they_are(tmp_path):
    for event in (
        StepCompleted(1, 2, float("nan"), 1e-4, 0.5, 0.1, 2.0),
        SamplesWritten(3, (tmp_path / "a.mp4", tmp_path / "b.mp4"), tmp_path / "sheet.png"),
        Notice("größer"),
    ):
        assert repr(to_event(to_message(event))) == repr(event)


def test_only_the_one_with_the_key_comes_in():
    """Strangers who say nothing, or the wrong thing, keep nobody waiting."""
    listener = WorkerListener()
    host, port, key = listener.address.split()
    silent = socket.create_connection((host, int(port)))
    for words in (b"wrong\n", b"\xff" * 1000, b"\0\0\0\x04#WEL"):
        with socket.create_connection((host, int(port))) as stranger:
            stranger.sendall(words)
            tries = iter([False, False, True])
            assert listener.accept(give_up=lambda tries=tries: next(tries)) is None
    opened = []
    threading.Thread(target=lambda: opened.append(connect(listener.address))).start()
    inside = listener.accept(give_up=lambda: False)
    until(lambda: opened)
    inside.send({"ask": "stop"})
    assert next(opened[0].messages()) == {"ask": "stop"}
    threading.Thread(target=listener.accept, args=(lambda: False,), daemon=True).start()
    with pytest.raises(AuthenticationError):
        connect(f"{host} {port} {bytes.fromhex(key)[::-1].hex()}")
    for each in (silent, opened[0], inside):
        each.close()


def test_heartbeats_come_from_a_thread_of_their_own(monkeypatch):
    monkeypatch.setattr(ipc, "BEAT_SECONDS", 0.01)
    one, other = (ipc.WorkerConnection(end) for end in Pipe())
    one.beat()
    assert [next(other.messages()) for _ in range(3)] == [{"beat": True}] * 3
    one.send({"event": "x"})
    assert any(message != ipc.BEAT for message in islice(other.messages(), 50))
    other.close()
    until(lambda: not any("heartbeat" in thread.name for thread in threading.enumerate()))


def workers(job) -> list[psutil.Process]:
    """The processes that train a run, without those that started them."""
    found = []
    for process in psutil.Process().children(recursive=True):
        words = process.cmdline()
        if str(job.run.folder) in words and "launch" not in " ".join(words):
            found.append(process)
    return found


@pytest.mark.kills
def test_a_worker_that_is_paused_and_then_killed_comes_to_the_same_bytes(
    manager, training_config, tmp_path
):
    options = {"steps": 100, "batch_size": 1}
    config = training_config(optimization=options, checkpoints={"interval": 5})
    plan = plan_run(config, processes=1)
    job = manager.submit(plan)
    events = EventQueue()
    job.listeners.add(events)
    until(lambda: job.step >= 6)
    manager.pause(job.name)
    until(lambda: job.status == "paused")
    paused_at = current_state(plan.run).step
    steps = [event.step for event in events.drain() if isinstance(event, StepCompleted)]
    assert steps == list(range(1, paused_at + 1))
    manager.resume(plan.run)
    until(lambda: job.step >= paused_at + 6)
    (worker,) = workers(job)
    worker.kill()
    with pytest.raises(
        RunFailedError, match="the training process was killed by the signal SIGKILL"
    ):
        job.result()
    state = current_state(plan.run)
    assert (state.status, state.cause.kind) == ("failed", "crashed")
    assert paused_at <= state.step < 100
    whole = train(config.model_copy(update={"output_dir": str(tmp_path / "whole")}))
    assert tensor_bytes(train(config).lora_file) == tensor_bytes(whole.lora_file)


@pytest.mark.long
def test_a_process_says_why_it_can_not_begin(manager, training_config, stripes_data, tmp_path):
    root = shutil.copytree(stripes_data, tmp_path / "data")
    plan = plan_run(training_config(root), processes=1)
    shutil.rmtree(root)
    with pytest.raises(RunFailedError, match=f"{root}: no such file or folder. Solve this"):
        manager.submit(plan).result()
    assert current_state(plan.run).cause.kind == "configuration"


def test_a_crash_is_told_in_the_words_of_the_process_that_fell(
    manager, training_config, tmp_path, monkeypatch
):
    worker = tmp_path / "worker.py"
    worker.write_text("raise SystemExit('[rank1]: OutOfMemoryError: 9 GiB\\n' + '=' * 60)")
    monkeypatch.setattr(subprocess_trainer, "WORKER", worker)
    with pytest.raises(
        RunFailedError, match=r"code 1 and gave no reason \(\[rank1\]: OutOfMemoryError"
    ):
        manager.submit(plan_run(training_config(), processes=1)).result()


def test_the_queue_goes_on_when_another_program_takes_the_run_of_a_worker(
    manager, training_config, tmp_path, monkeypatch
):
    worker = tmp_path / "worker.py"
    worker.write_text(
        "import pathlib, time\n"
        "while not pathlib.Path(__file__).with_name('taken').exists(): time.sleep(0.01)"
    )
    monkeypatch.setattr(subprocess_trainer, "WORKER", worker)
    monkeypatch.setattr(subprocess_trainer, "LOCK_SECONDS", 0.1)
    plan = plan_run(training_config(name="a"), processes=1)
    job = manager.submit(plan)
    after = manager.submit(plan_run(training_config(name="b")))
    with RunWriter(plan.run).acquire(60):
        (tmp_path / "taken").touch()
        with pytest.raises(RunBusyError):
            job.result()
    assert after.result().finished


@pytest.mark.kills
def test_two_processes_train_one_run(manager, training_config):
    config = training_config(optimization={"steps": 6, "batch_size": 1, "learning_rate": 1e-3})
    plan = plan_run(config, processes=2)
    assert plan.run.name != plan_run(config).run.name
    job = manager.submit(plan)
    result = job.result()
    assert result.finished
    assert [each.step for each in plan.run.metrics()] == [1, 2, 3, 4, 5, 6]
    rates = [each.learning_rate for each in plan.run.metrics()]
    assert rates == pytest.approx([1e-3 * (1 - 0.9 * k / 6) for k in range(6)]), "one move a step"
    assert current_state(plan.run).processes == 2
    assert len(plan.run.loras()) == 1


def test_a_crash_is_told_by_what_another_process_has_left(
    manager, training_config, tmp_path, monkeypatch
):
    """The launcher ends the first process when another one fails."""
    worker = tmp_path / "worker.py"
    worker.write_text(
        f"import sys; sys.path.insert(0, {str(ROOT)!r}); from pathlib import Path\n"
        "from ltxv_train_core.runs import RunFolder\n"
        "from ltxv_train_core.runs.failures import failure_of, leave_failure\n"
        "run = RunFolder(Path(sys.argv[1]))\n"
        "leave_failure(run, failure_of(MemoryError('9 GiB')))\n"
        "leave_failure(run, failure_of(OSError('closed')))\n"
        "sys.exit(1)"
    )
    monkeypatch.setattr(subprocess_trainer, "WORKER", worker)
    plan = plan_run(training_config(), processes=1)
    with pytest.raises(RunFailedError, match=r"not enough \(9 GiB") as caught:
        manager.submit(plan).result()
    assert caught.value.cause.kind == "out_of_host_memory"
    until(lambda: manager.find(plan.run.name) is None)
    worker.write_text("raise SystemExit('no word of it')")
    with pytest.raises(RunFailedError, match="no word of it"):
        manager.submit(plan).result()


@pytest.mark.long
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_the_cause_of_a_run_is_that_of_the_process_that_failed(training_config, tmp_path):
    config = training_config(optimization={"steps": 4, "batch_size": 1})
    yaml_file.save(config, tmp_path / "config.yaml")
    ran = train_together(tmp_path / "config.yaml", 2, "--oom", "2")
    assert ran.returncode != 0
    state = current_state(plan_run(config, processes=2).run)
    assert (state.status, state.step, state.cause.kind) == ("failed", 2, "out_of_memory")
    assert state.cause.message.startswith("process 2 of 2: the accelerator's memory is not enough")
    assert "smaller batch_size" in state.cause.advice


@pytest.mark.long
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_process_that_beats_and_does_not_come_is_not_awaited_for_ever(training_config, tmp_path):
    """Half an hour, here six seconds."""
    config = training_config(optimization={"steps": 6, "batch_size": 1})
    yaml_file.save(config, tmp_path / "config.yaml")
    started = time.monotonic()
    ran = train_together(tmp_path / "config.yaml", 2, "--hang", "3", "--collective-seconds", "6")
    assert ran.returncode != 0
    assert 6 < time.monotonic() - started < 60
    state = current_state(plan_run(config, processes=2).run)
    assert (state.status, state.step, state.cause.kind) == ("failed", 3, "crashed")
    assert state.cause.message.endswith("or one was stuck for 0.1 minutes")
    assert "Queue the run again" in state.cause.advice
