"""What a run reports and picks up, in numbers."""

import math
import statistics

import pytest
import torch

from ltxv_train_core.events import Control, NeverStop, StepCompleted, ignore
from ltxv_train_core.runs import RunFolder
from ltxv_train_core.training.distributed import Processes
from ltxv_train_core.training.run_plan import open_source, plan_run
from ltxv_train_core.training.step import StepRunner
from ltxv_train_core.training.trainable import load_trainable
from ltxv_train_core.training.trainer import train

ONE = {"batch_size": 1, "scheduler_type": "constant"}
SMALL = {"rank": 1, "alpha": 1, "target_modules": ["0.attn1.to_q"]}


def samples_taken(result) -> int:
    state = result.run_folder / "checkpoints" / f"{result.step:06d}" / "state.pt"
    return torch.load(state, weights_only=True)["batches"]["samples"]


def test_time_left_is_the_median_of_the_last_fifty_steps_for_each_that_is_left(training_config):
    events: list = []
    train(training_config(optimization=ONE | {"steps": 53}, lora=SMALL), events.append)
    steps = [event for event in events if isinstance(event, StepCompleted)]
    for number, event in enumerate(steps, start=1):
        last = [each.step_seconds for each in steps[max(0, number - 50) : number]]
        assert event.step_seconds > 0
        assert event.eta_seconds == pytest.approx(statistics.median(last) * (53 - number))
    assert [event.step for event in steps] == list(range(1, 54))


@pytest.mark.parametrize("is_compiled", [True, False])
def test_the_step_that_compiles_says_nothing_of_the_time_that_is_left(training_config, is_compiled):
    config = training_config(optimization=ONE | {"steps": 2}, lora=SMALL)
    processes = Processes()
    trainable = load_trainable(config, open_source(config), processes.device, ignore)
    trainable.is_compiled = is_compiled
    dataset = plan_run(config).dataset
    runner = StepRunner(config, 9, trainable, dataset, processes, Control(), ignore)
    try:
        first, second = runner.run(), runner.run()
    finally:
        runner.close()
    assert math.isnan(first.eta_seconds) is is_compiled
    times = [first.step_seconds, second.step_seconds]
    assert second.eta_seconds == pytest.approx(7 * statistics.median(times))


def test_raised_steps_begin_with_the_longest_finished_run(training_config):
    def config(steps, **sections):
        return training_config(optimization=ONE | {"steps": steps}, lora=SMALL, **sections)

    done = {steps: train(config(steps)).run_folder for steps in (3, 1, 4, 2)}
    assert plan_run(config(9)).start.folder == done[4]
    assert plan_run(config(4)).start.folder == done[3], "not itself"
    train(config(8, name="other"))
    assert plan_run(config(9)).start.folder == done[4], "of another name"
    assert plan_run(config(9, seed=1)).start is None
    (done[4] / "checkpoints" / "000004").rename(done[4] / "gone")
    assert plan_run(config(9)).start.folder == done[3]


def test_a_stage_begins_at_the_first_batch_of_another_data_set(training_config, mirror_data):
    first = train(training_config(optimization=ONE | {"steps": 3}, lora=SMALL))
    before = RunFolder(first.run_folder)
    two = {"optimization": ONE | {"steps": 2}, "lora": SMALL}
    same = train(training_config(**two), continue_from=before)
    other = train(training_config(mirror_data, **two), continue_from=before)
    assert (first.step, same.step, other.step) == (3, 5, 5)
    assert tuple(map(samples_taken, (first, same, other))) == (3, 5, 2)


class StopAtSecondQuestion:
    """Asked once before each batch but a step's first."""

    asked = 0

    def is_set(self) -> bool:
        self.asked += 1
        return self.asked == 2


def test_an_abandoned_step_leaves_no_gradient_and_its_batches_come_again(training_config):
    """A stop after two of three batches; then the same runner makes the step after all."""
    options = ONE | {"steps": 2, "gradient_accumulation_steps": 3}
    config = training_config(optimization=options, lora=SMALL)
    dataset = plan_run(config).dataset

    def runner(stop):
        processes = Processes()
        trainable = load_trainable(config, open_source(config), processes.device, ignore)
        control = Control.of(stop)
        return StepRunner(config, 2, trainable, dataset, processes, control, ignore)

    stopped, straight = runner(StopAtSecondQuestion()), runner(NeverStop())
    try:
        assert stopped.run() is None
        assert stopped.step == 0
        assert all(p.grad is None for p in stopped.trainable.parameters)
        assert stopped.is_between_steps
        for _ in range(2):
            ours, theirs = stopped.run(), straight.run()
            assert (ours.loss, ours.grad_norm) == (theirs.loss, theirs.grad_norm)
        assert stopped.position == straight.position == {"samples": 6}
    finally:
        stopped.close()
        straight.close()
