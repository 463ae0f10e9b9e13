"""How a run ends, as it is told, written down and returned."""

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch.distributed as dist

from ltxv_train_core.errors import Cancelled, LTXVTrainError
from ltxv_train_core.events import (
    CheckpointWritten,
    Control,
    Notice,
    Progress,
    RunStatusChanged,
    SamplesWritten,
    StepCompleted,
)
from ltxv_train_core.runs import RunFolder, RunWriter
from ltxv_train_core.runs.failures import RunFailedError, failure_left, failure_of
from ltxv_train_core.training.distributed import Processes
from ltxv_train_core.training.loop import TrainingLoop
from ltxv_train_core.training.run_plan import plan_run
from ltxv_train_core.training.trainer import (
    TrainingResult,
    begin,
    follow_first,
    park,
    result_of,
    train,
)

FEW = {"batch_size": 1, "scheduler_type": "constant"}
LORA = {"rank": 1, "alpha": 1, "target_modules": ["0.attn1.to_q"]}


@pytest.fixture
def trained(training_config):
    """Trains; at a step something is done to the run's control."""

    def trained(steps=3, at=None, act=lambda control: None, **sections):
        control, told = Control(), []

        def report(event):
            told.append(event)
            if isinstance(event, StepCompleted) and event.step == at:
                act(control)

        config = training_config(optimization=FEW | {"steps": steps}, lora=LORA, **sections)
        result = train(config, report, control)
        return result, told

    return trained


def moves(told):
    return [(e.status, e.step, e.steps) for e in told if isinstance(e, RunStatusChanged)]


def written(result):
    state = RunFolder(result.run_folder).written_state()
    return state.status, state.step


def test_a_whole_run_is_finished(trained):
    result, told = trained()
    assert moves(told) == [("queued", 0, 3), ("running", 0, 3), ("finished", 3, 3)]
    assert (result.finished, written(result)) == (True, ("finished", 3))
    assert [e.step for e in told if isinstance(e, CheckpointWritten)] == [3]
    names = {e.run for e in told if isinstance(e, RunStatusChanged)}
    assert names == {result.run_folder.name}
    assert moves(trained()[1]) == [], "it is found, not trained"


@pytest.mark.parametrize(
    ("act", "status", "step"), [(Control.stop, "stopped", 2), (Control.pause, "paused", 1)]
)
def test_a_run_that_is_interrupted_says_how_and_goes_on(trained, act, status, step):
    result, told = trained(at=step, act=act)
    assert moves(told)[1:] == [("running", 0, 3), (status, step, 3)]
    assert (result.step, result.steps, result.finished) == (step, 3, False)
    assert written(result) == (status, step)
    assert result.lora_file.is_file()
    result, told = trained()
    assert moves(told) == [("queued", step, 3), ("running", step, 3), ("finished", 3, 3)]
    lines = [e.message for e in told if isinstance(e, Notice)]
    assert f"resuming from step {step} (checkpoint)" in lines
    name = result.run_folder.name
    assert f"run {name}: 512 trainable parameters, step {step} of 3, on cpu" in lines


def test_a_stop_at_the_last_step_finishes_the_run(trained):
    result, told = trained(at=3, act=Control.stop)
    assert (result.finished, moves(told)[-1]) == (True, ("finished", 3, 3))


@pytest.mark.parametrize(("act", "status"), [("stop", "stopped"), ("pause", "paused")])
def test_a_run_that_never_began_is_told_too(training_config, act, status):
    control, told = Control(), []
    getattr(control, act)()
    config = training_config(optimization=FEW | {"steps": 3}, lora=LORA)
    with pytest.raises(Cancelled, match="stopped before the first step"):
        train(config, told.append, control)
    assert moves(told)[-1] == (status, 0, 3)
    assert (told[-1].cause, told[-1].message) == (None, None)


def test_what_is_asked_for_comes_after_the_step(trained):
    def ask(control):
        control.request("checkpoint")
        control.request("sample")

    _, told = trained(steps=4, at=2, act=ask)
    assert [e.step for e in told if isinstance(e, CheckpointWritten)] == [2, 4]
    lines = [e.message for e in told if isinstance(e, Notice)]
    assert lines.count("no samples: the run has no validation.prompts") == 1


def test_samples_that_are_asked_for_need_no_interval(trained):
    samples = {
        "prompts": ["a ring"],
        "video_dims": [32, 32, 1],
        "inference_steps": 1,
        "interval": None,
    }
    _, told = trained(steps=3, at=2, act=lambda c: c.request("sample"), validation=samples)
    assert [e.step for e in told if isinstance(e, SamplesWritten)] == [2]


def test_a_failure_is_written_with_its_cause_and_the_steps_are_kept(trained, training_config):
    def fail(control):
        raise ZeroDivisionError("division by zero")

    with pytest.raises(RunFailedError, match="division by zero"):
        trained(at=2, act=fail)
    run = plan_run(training_config(optimization=FEW | {"steps": 3}, lora=LORA)).run
    state = run.written_state()
    assert (state.status, state.step, state.cause.kind) == ("failed", 2, "error")
    result, told = trained()
    assert moves(told)[0] == ("queued", 2, 3)
    assert [e.step for e in told if isinstance(e, StepCompleted)] == [3]
    assert result.finished


def test_a_step_that_can_not_be_saved_after_a_failure_is_told(training_config):
    config, told = training_config(optimization=FEW | {"steps": 3}, lora=LORA), []
    run = plan_run(config).run

    def report(event):
        told.append(event)
        if isinstance(event, StepCompleted) and event.step == 2:
            run.weights.write_text("in the way")
            raise ZeroDivisionError("division by zero")

    with pytest.raises(RunFailedError, match="division by zero"):
        train(config, report)
    assert any("Could not save step 2: " in e.message for e in told if isinstance(e, Notice))
    assert moves(told)[-1] == ("failed", 0, 3)


def test_a_run_whose_folder_can_not_be_written_does_not_begin(training_config):
    plan = plan_run(training_config(lora=LORA))
    with RunWriter(plan.run) as writer:
        plan.run.config_file.mkdir(parents=True)
        with pytest.raises(
            LTXVTrainError, match=f"run {plan.run.name} can't be written: .*make room"
        ):
            begin(plan, writer)


def test_a_stop_while_it_samples_ends_the_run_without_a_word(training_config):
    samples = {"prompts": ["a ring"], "video_dims": [32, 32, 1], "inference_steps": 4}
    config = training_config(
        optimization=FEW | {"steps": 3},
        lora=LORA,
        validation=samples | {"interval": 2, "skip_initial_validation": True},
    )
    control, told = Control(), []

    def report(event):
        told.append(event)
        if isinstance(event, Progress) and event.phase == "sample":
            control.stop()

    result = train(config, report, control)
    assert (result.step, written(result)) == (2, ("stopped", 2))
    assert not [e for e in told if isinstance(e, SamplesWritten)]
    assert not [e for e in told if isinstance(e, Notice) and "Could not sample" in e.message]


def test_a_state_that_can_not_be_written_is_told(tmp_path):
    def move(status, cause):
        raise OSError("no space left")

    told, run = [], RunFolder(tmp_path / "mine")
    park(run, SimpleNamespace(move=move), told.append, "failed", failure_of(MemoryError("x")))
    notice, change = told
    assert notice.message == "the state of run mine can't be written: no space left"
    assert (change.run, change.status, change.step, change.steps) == ("mine", "failed", 0, 0)
    assert change.cause == "out_of_host_memory"
    assert change.message
    park(run, SimpleNamespace(move=move), told.append, "stopped")
    assert (told[-1].status, told[-1].cause, told[-1].message) == ("stopped", None, None)


@pytest.mark.parametrize(("step", "finished"), [(2, False), (3, True)])
def test_a_result_is_finished_at_its_last_step(step, finished):
    result = TrainingResult(Path("a"), Path("b"), step, 3)
    assert (result.finished, result.ema_file) == (finished, None)


def test_the_average_is_part_of_a_result_where_there_is_one(training_config):
    plan = plan_run(training_config(lora=LORA))
    with RunWriter(plan.run) as writer:
        state = begin(plan, writer)
    assert result_of(plan.run, state).ema_file is None
    ema_file = plan.run.ema_file(0)
    ema_file.parent.mkdir(parents=True, exist_ok=True)
    ema_file.touch()
    found = result_of(plan.run, state)
    assert (found.ema_file, found.lora_file) == (ema_file, plan.run.lora_file(0))
    assert (found.step, found.steps, found.run_folder) == (0, 4, plan.run.folder)


def test_only_the_first_process_writes_and_tells_steps(training_config):
    samples = {"prompts": ["a ring"], "video_dims": [32, 32, 1], "interval": 1}
    config = training_config(optimization=FEW | {"steps": 2}, lora=LORA, validation=samples)
    plan, told = plan_run(config), []
    with RunWriter(plan.run) as writer:
        begin(plan, writer)
        before = sorted(plan.run.folder.rglob("*"))
        loop = TrainingLoop(plan, writer, told.append, Control(), Processes(1, 1))
        loop.run()
    assert loop.runner.step == 2
    assert sorted(plan.run.folder.rglob("*")) == before
    kinds = (StepCompleted, SamplesWritten, CheckpointWritten)
    assert not [event for event in told if isinstance(event, kinds)]
    follow_first(Processes())  # the first one has nothing to train


@pytest.fixture
def group_of_one():
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    yield
    dist.destroy_process_group()


class Second(Processes):
    """The second of two, which is told a run's folder and that it is stopped."""

    folder = ""

    def agree(self, value):
        return self.folder if value is None else True

    def watch(self, on_silence):
        return None


@pytest.mark.parametrize("is_damaged", [True, False])
def test_another_process_leaves_its_failure_and_none_for_a_stop(
    training_config, group_of_one, is_damaged
):
    plan = plan_run(training_config(optimization=FEW | {"steps": 2}, lora=LORA))
    with RunWriter(plan.run) as writer:
        begin(plan, writer)
    second = Second(1, 2)
    Second.folder = str(plan.run.folder)
    if is_damaged:
        plan.run.config_file.unlink()
    with pytest.raises(LTXVTrainError if is_damaged else Cancelled):
        follow_first(second)
    left = failure_left(plan.run)
    assert (left is not None) == is_damaged
    if left:
        assert "process 2 of 2" in str(left)
