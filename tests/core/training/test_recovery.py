"""Between checkpoints, and without any, a kill costs little."""

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from ltxv_train_core.config import yaml_file
from ltxv_train_core.errors import Cancelled
from ltxv_train_core.events import CheckpointWritten, NeverStop, Notice, StepCompleted
from ltxv_train_core.jobs.subprocess_trainer import resume_training
from ltxv_train_core.runs import RunFolder, RunLibrary
from ltxv_train_core.runs.library import current_state
from ltxv_train_core.training import checkpoint, loop, recovery
from ltxv_train_core.training.run_plan import plan_run
from ltxv_train_core.training.trainer import train
from tests.core.training.test_kill import EVERYTHING, assert_same

ROOT = Path(__file__).parents[3]
WITHOUT_CHECKPOINTS = EVERYTHING | {"checkpoints": {"interval": None}}


@pytest.fixture
def after_every_step(monkeypatch):
    monkeypatch.setattr(recovery, "FIRST_SECONDS", 0)
    monkeypatch.setattr(recovery, "LEAST_SECONDS", 0)
    monkeypatch.setattr(recovery, "LEAST_TIMES_ITS_DURATION", 0)


def steps_in(folder: Path) -> list[int]:
    return sorted(int(path.name) for path in folder.glob("[0-9]*"))


def cut_off(config, step: int) -> RunFolder:
    """Trains until nothing more is saved after a step was made, as if the process were gone."""

    def report(event):
        if isinstance(event, StepCompleted) and event.step == step:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(config, report)
    return plan_run(config).run


def notices(events: list) -> list[str]:
    return [event.message for event in events if isinstance(event, Notice)]


@pytest.mark.kills
@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs SIGKILL")
def test_a_killed_run_goes_on_from_its_recovery_point_to_the_same_bytes(training_config, tmp_path):
    code = (
        "import os, signal, sys; from pathlib import Path\n"
        "from ltxv_train_core.training import recovery\n"
        "from ltxv_train_core.config import yaml_file\n"
        "from ltxv_train_core.training.trainer import train\n"
        "recovery.FIRST_SECONDS = recovery.LEAST_SECONDS = recovery.LEAST_TIMES_ITS_DURATION = 0\n"
        "def report(event):\n"
        "    if type(event).__name__ == 'StepCompleted' and event.step == 6:\n"
        "        os.kill(os.getpid(), signal.SIGKILL)\n"
        "train(yaml_file.load(Path(sys.argv[1])), report)"
    )
    config = training_config(**WITHOUT_CHECKPOINTS)
    yaml_file.save(config, tmp_path / "config.yaml")
    ran = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "config.yaml")],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        check=False,
    )
    assert ran.returncode == -signal.SIGKILL
    run = plan_run(config).run
    assert (steps_in(run.recovery), steps_in(run.checkpoints), run.loras()) == ([5], [], [])
    assert current_state(run).cause.kind == "crashed"
    events: list = []
    result = train(config, events.append)
    assert "resuming from step 5 (recovery point)" in notices(events)
    assert [e.step for e in events if isinstance(e, StepCompleted)] == [6, 7, 8]
    whole = train(config.model_copy(update={"output_dir": str(tmp_path / "whole")}))
    assert_same(result, whole)


def test_recovery_points_are_none_of_the_checkpoints(training_config, after_every_step):
    config = training_config(
        optimization={"steps": 8}, checkpoints={"interval": 3, "keep_last_n": 2}
    )
    run, seen, written = plan_run(config).run, {}, []

    def report(event):
        if isinstance(event, StepCompleted):
            seen[event.step] = (steps_in(run.checkpoints), steps_in(run.recovery))
        if isinstance(event, CheckpointWritten):
            written.append(event.step)

    train(config, report)
    assert seen == {  # as a step has been made, before it is saved
        1: ([], []),
        2: ([], [1]),
        3: ([], [2]),
        4: ([3], []),
        5: ([3], [4]),
        6: ([3], [5]),
        7: ([3, 6], []),
        8: ([3, 6], [7]),
    }
    assert written == [3, 6, 8]
    assert not run.recovery.exists()
    assert [lora.step for lora in run.loras()] == [3, 6, 8]


def test_a_run_that_stops_after_a_kill_leaves_a_checkpoint(training_config, after_every_step):
    config = training_config()
    cut_off(config, 3)

    stop = threading.Event()

    def stop_when_loaded(event):
        if "resuming from step 2" in str(event):
            stop.set()

    result = train(config, stop_when_loaded, stop)
    assert (result.step, result.lora_file.is_file()) == (2, True)
    run = RunFolder(result.run_folder)
    assert (steps_in(run.checkpoints), run.recovery.exists()) == ([2], False)


def test_a_stop_while_a_run_loads_reads_no_model(training_config, monkeypatch):
    """A run that was saved before has its LoRA as the result; a new one has none."""
    config, stop = training_config(optimization={"steps": 8}), threading.Event()
    stop.set()
    loads = []
    monkeypatch.setattr(loop, "load_trainable", lambda *_: loads.append(1))
    with pytest.raises(Cancelled):
        train(config, stop=stop)
    assert current_state(plan_run(config).run).status == "stopped"
    monkeypatch.undo()
    half = threading.Event()
    train(config, lambda event: half.set() if getattr(event, "step", 0) == 3 else None, half)
    result = train(config, stop=stop)
    assert (result.step, result.lora_file.is_file(), loads) == (3, True, [])


def test_the_newest_that_can_be_read_is_taken(training_config, after_every_step):
    config = training_config(optimization={"steps": 8}, checkpoints={"interval": 3})
    run = cut_off(config, 6)
    (run.recovery / "000005" / checkpoint.STATE).write_bytes(b"torn")
    events: list = []
    train(config, events.append)
    assert "recovery/000005 can't be read" in " ".join(notices(events))
    assert "resuming from step 3 (checkpoint)" in notices(events)


def test_the_first_after_a_minute_then_one_every_ten_and_a_hundredth_of_the_time(
    training_config, monkeypatch
):
    """Each step takes 25 seconds, from the fourth on 250, and writing the second recovery point 30."""
    now, written, save = [0.0], [], checkpoint.save_checkpoint

    def slow(folder, state):
        written.append((folder.name, state.step))
        now[0] += 30 if state.step == 6 else 1
        return save(folder, state)

    def report(event):
        if isinstance(event, StepCompleted):
            now[0] += 250 if event.step > 3 else 25

    monkeypatch.setattr(recovery.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(checkpoint, "save_checkpoint", slow)
    config = training_config(optimization={"steps": 27}, checkpoints={"interval": 20})
    train(config, report)
    assert written == [
        ("recovery", 3),
        ("recovery", 6),
        ("recovery", 18),
        ("checkpoints", 20),
        ("recovery", 23),
        ("recovery", 26),
        ("checkpoints", 27),
    ]


def test_a_stage_goes_on_from_its_recovery_point_without_the_run_before_it(
    training_config, after_every_step
):
    config = training_config(optimization={"steps": 3})
    before = RunFolder(train(config).run_folder)

    def report(event):
        if isinstance(event, StepCompleted) and event.step == 5:
            raise KeyboardInterrupt

    plan = plan_run(config, continue_from=before)
    with pytest.raises(KeyboardInterrupt):
        train(config, report, continue_from=before)
    RunLibrary(config.output_path).delete(before.name)
    assert resume_training(plan.run, lambda event: None, NeverStop()).finished
    assert [each.step for each in plan.run.metrics()] == [1, 2, 3, 4, 5, 6]
