"""Workers that hang: small scripts that speak the line of a worker, and then don't."""

import time

import psutil
import pytest

from ltxv_train_core.errors import Cancelled
from ltxv_train_core.jobs import subprocess_trainer, worker_watch
from ltxv_train_core.runs.failures import RunFailedError
from ltxv_train_core.runs.library import current_state
from ltxv_train_core.training.run_plan import plan_run

OPEN = """
import os, subprocess, sys, threading, time, json
from multiprocessing.connection import Client
host, port, key = os.environ["LTXV_TRAIN_LINK"].split()
line = Client((host, int(port)), authkey=bytes.fromhex(key))
say = lambda message: line.send_bytes(json.dumps(message).encode())
event = lambda kind, **values: say({"event": kind, "values": values})
"""
BEAT = """
def beat():
    while True: say({"beat": True}); time.sleep(0.05)
threading.Thread(target=beat, daemon=True).start()
"""
HANG = "time.sleep(1000)\n"
SAVING = 'event("Progress", phase="save", done=0, total=1, unit="checkpoint")\n'
STEP = """
event("StepCompleted", step=1, steps=4, loss=1.0, learning_rate=1.0, grad_norm=1.0, step_seconds=9.0,
      eta_seconds=1.0)
"""


def until(condition, seconds=30):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come to that"
        time.sleep(0.01)


@pytest.fixture
def start(manager, training_config, tmp_path, monkeypatch):
    """Queues a run whose worker is a script; limits are short."""
    limits = {"SILENCE_SECONDS": 0.5, "GRACE_SECONDS": 0.5, "SAVING_SECONDS": 1.5}
    for name, seconds in (limits | {"LAST_SECONDS": 0.5}).items():
        monkeypatch.setattr(worker_watch, name, seconds)
    script = tmp_path / "worker.py"
    monkeypatch.setattr(subprocess_trainer, "WORKER", script)

    def begin(text: str):
        script.write_text(text)
        return manager.submit(plan_run(training_config(), processes=1))

    return begin


def children() -> list[psutil.Process]:
    return psutil.Process().children(recursive=True)


def test_a_worker_that_falls_silent_is_ended_and_its_run_can_be_resumed(start):
    job = start(
        OPEN + "subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(99)'])\n" + HANG
    )
    with pytest.raises(RunFailedError, match=r"has not answered for 0\.5 s, and was ended"):
        job.result()
    state = current_state(job.run)
    assert (state.status, state.cause.kind) == ("failed", "hung")
    assert children() == [], "its own children are ended with it"


@pytest.mark.long
def test_a_worker_that_beats_works_however_long_it_takes(start):
    job = start(OPEN + BEAT + HANG)
    assert not job.wait(1.5)
    job.control.stop()
    with pytest.raises(Cancelled):
        job.result()


@pytest.mark.parametrize(
    ("says", "seconds"), [("", 0.5), (STEP.replace("9.0", "0.5"), 1.0), (SAVING, 1.5)]
)
def test_a_worker_that_does_not_stop_is_ended_after_a_grace(start, says, seconds, watcher):
    """Of slow steps the grace is two of them, and what is being saved has time."""
    job = start(OPEN + BEAT + says + HANG)
    job.listeners.add(watcher)
    until(lambda: watcher.events or children())
    time.sleep(0.5)
    job.control.pause()
    started = time.monotonic()
    until(lambda: job.status == "paused")
    assert seconds <= time.monotonic() - started + 0.1 < seconds + 2
    told = [getattr(event, "message", "") or "" for event in watcher.events]
    assert f"the training process did not stop within {seconds:g} s and was ended" in " ".join(told)
    assert children() == []


def test_a_stop_before_the_line_opens_ends_the_worker_at_once(start):
    job = start("import time; time.sleep(1000)")
    until(children)
    job.control.stop()
    started = time.monotonic()
    with pytest.raises(Cancelled):
        job.result()
    assert time.monotonic() - started < 3
    assert current_state(job.run).status == "stopped"


def test_a_worker_that_never_opens_the_line_is_ended(start, monkeypatch):
    monkeypatch.setattr(worker_watch, "OPENING_SECONDS", 0.5)
    with pytest.raises(RunFailedError, match=r"has not begun within 0\.5 s"):
        start("import time; time.sleep(1000)").result()


def test_a_launcher_that_outlives_the_first_process_is_ended(start):
    job = start(OPEN + "line.close()\n" + HANG)
    with pytest.raises(RunFailedError, match=r"was killed by the signal SIGTERM|ended with code"):
        job.result()
