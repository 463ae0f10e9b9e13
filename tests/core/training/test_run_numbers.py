"""What a run reports and picks up, in numbers."""

import pytest
import torch

from ltxv_train_core.events import StepCompleted
from ltxv_train_core.runs import RunFolder
from ltxv_train_core.training.run_plan import plan_run
from ltxv_train_core.training.trainer import train

ONE = {"batch_size": 1, "scheduler_type": "constant"}
SMALL = {"rank": 1, "alpha": 1, "target_modules": ["0.attn1.to_q"]}


def consumed(result) -> int:
    state = result.run_folder / "checkpoints" / f"{result.step:06d}" / "state.pt"
    return torch.load(state, weights_only=True)["batches"]["consumed"]


def test_time_left_is_the_mean_of_the_last_fifty_steps_for_each_that_is_left(training_config):
    events: list = []
    train(training_config(optimization=ONE | {"steps": 53}, lora=SMALL), events.append)
    steps = [event for event in events if isinstance(event, StepCompleted)]
    for number, event in enumerate(steps, start=1):
        last = [each.step_seconds for each in steps[max(0, number - 50) : number]]
        assert event.step_seconds > 0
        assert event.eta_seconds == pytest.approx(sum(last) / len(last) * (53 - number))
    assert [event.step for event in steps] == list(range(1, 54))


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
    assert (consumed(first), consumed(same), consumed(other)) == (3, 5, 2)


def test_batches_of_an_abandoned_step_come_again(training_config):
    """A stop after the first of three batches of the second step."""
    options = {"optimization": ONE | {"steps": 3, "gradient_accumulation_steps": 3}, "lora": SMALL}

    class Stop:
        asked = 0

        def is_set(self) -> bool:
            self.asked += 1
            return self.asked > 5

    result = train(training_config(**options), stop=Stop())
    assert not result.finished
    assert consumed(result) == 3 * result.step
    whole: list = []
    train(training_config(**options), whole.append)
    straight: list = []
    config = training_config(**options)
    train(config.model_copy(update={"output_dir": config.output_dir + "2"}), straight.append)
    losses = [[e.loss for e in told if isinstance(e, StepCompleted)] for told in (whole, straight)]
    assert losses[0] == losses[1][result.step :]
