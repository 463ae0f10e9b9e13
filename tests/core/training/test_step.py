"""One optimizer step: its random numbers, its place in the data, what it reports."""

import math

import pytest
import torch
import torch.distributed as dist

from ltxv_train_core.diffusion.draws import sample_seed
from ltxv_train_core.events import NOISE_BANDS, Control, NeverStop, ignore
from ltxv_train_core.models import device as devices
from ltxv_train_core.training.checkpoint import CheckpointError, TrainingState
from ltxv_train_core.training.distributed import Processes
from ltxv_train_core.training.noise_bands import NoiseBands
from ltxv_train_core.training.resume import MOST_SAMPLES_PER_STEP, load_state, training_state
from ltxv_train_core.training.run_plan import open_source, plan_run
from ltxv_train_core.training.step import StepRunner
from ltxv_train_core.training.trainable import load_trainable
from tests.helpers.accelerator import Accelerator

SMALL = {"rank": 1, "alpha": 1, "target_modules": ["0.attn1.to_q"]}


@pytest.fixture
def runner(training_config):
    """Makes runners of a configuration; they are closed after the test."""
    made = []

    def make(steps=4, seed=0, lora=SMALL, **optimization):
        options = {"steps": steps, "batch_size": 1, "scheduler_type": "constant"}
        config = training_config(optimization=options | optimization, lora=lora, seed=seed)
        trainable = load_trainable(config, open_source(config), devices.default_device(), ignore)
        made.append(
            StepRunner(
                config,
                steps,
                trainable,
                plan_run(config).dataset,
                Processes(),
                Control.of(NeverStop()),
                ignore,
            )
        )
        return made[-1]

    yield make
    for each in made:
        each.close()


def drawn(runner):
    """The seed that the last forward pass of a step drew by."""
    runner.run()
    return runner.trainable.dropout_seed.value


def test_a_step_moves_weights_until_somebody_says_that_it_is_over(runner):
    one = runner(steps=3)
    assert (one.step, one.is_between_steps, one.position) == (0, True, {"samples": 0})
    for step in (1, 2, 3):
        told = one.run()
        assert (told.step, told.steps, one.step) == (step, 3, step)
        assert one.is_between_steps is False
        assert one.position == {"samples": step}
        assert told.learning_rate == 1e-3
        assert told.step_seconds > 0
        assert (told.eta_seconds > 0) == (step < 3)


def test_a_step_tells_its_memory_and_the_loss_of_each_noise_band(runner):
    told = runner(gradient_accumulation_steps=3).run()
    assert told.memory_bytes > 10 * 2**20
    found = [loss for loss in told.loss_by_noise if not math.isnan(loss)]
    assert len(told.loss_by_noise) == 4
    assert 1 <= len(found) <= 3
    assert min(found) <= told.loss <= max(found)


def test_noise_bands_hold_means():
    bands = NoiseBands()
    for level, loss in ((0.1, 1.0), (0.3, 4.0), (0.49, 16.0), (1.0, 64.0)):
        bands.add(level, loss)
    low, second, third, high = bands.means()
    assert (low, second, high) == (1.0, (4.0 + 16.0) / 2, 64.0)
    assert math.isnan(third)


def test_noise_bands_come_back_from_their_numbers():
    bands = NoiseBands()
    for level, loss in ((0.1, 1.0), (0.3, 4.0), (0.49, 16.0)):
        bands.add(level, loss)
    again = NoiseBands.of(iter([each / 2 for each in bands.numbers]))
    assert again.means()[:2] == (1.0, 10.0), "means of halves are means"
    assert again.mean == bands.mean == 7.0
    assert math.isnan(NoiseBands().mean)


@pytest.mark.parametrize("accumulated", [1, 3])
def test_processes_tell_each_other_their_losses_in_one_message(runner, monkeypatch, accumulated):
    """A group of one plays two, whose sums are its own."""
    alone = runner(gradient_accumulation_steps=accumulated).run()
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    try:
        one = runner(gradient_accumulation_steps=accumulated)
        one.processes = Processes(0, 2)
        sent, all_reduce = [], dist.all_reduce

        def noted(tensor):
            sent.append(tensor.numel())
            all_reduce(tensor)

        monkeypatch.setattr(dist, "all_reduce", noted)
        told = one.run()
    finally:
        dist.destroy_process_group()
    assert sent == [1 + 2 * NOISE_BANDS]
    assert told.loss == alone.loss / 2
    torch.testing.assert_close(told.loss_by_noise, alone.loss_by_noise, equal_nan=True)


def test_random_numbers_are_those_of_the_seed_and_the_sample(runner):
    """Written down: a run that goes on in a later version draws the same."""
    one = runner()
    seeds = [drawn(one), drawn(one)]
    assert (
        seeds == [sample_seed(0, 0), sample_seed(0, 1)] == [771124661600752253, 658484508352139645]
    )
    assert drawn(runner(seed=1)) == sample_seed(1, 0) != seeds[0]
    assert drawn(runner(gradient_accumulation_steps=2)) == seeds[1], "of the last forward pass"
    assert drawn(runner(batch_size=4)) == seeds[0], "of the first sample of the batch"


def saved(runner, **changes):
    found = training_state(runner, "data")
    weights = {name: value.detach().clone() for name, value in found.weights.items()}
    values = {"step": found.step, "weights": weights, "state": found.state} | changes
    return TrainingState(**values)


def put(runner, state, data="data", new_schedule=False):
    load_state(runner, state, data, new_schedule, ignore)


def test_a_state_is_put_back_whole(runner):
    one, other = runner(), runner()
    for _ in range(2):
        one.run()
    state = saved(one)
    assert (state.step, state.state["batches"], state.state["data"]) == (2, {"samples": 2}, "data")
    assert len(state.weights) == 2
    put(other, state)
    assert (other.step, other.position) == (2, {"samples": 2})
    theirs, ours = one.run(), other.run()
    assert (ours.loss, ours.grad_norm, ours.step) == (theirs.loss, theirs.grad_norm, 3)
    third = runner()
    put(third, state, data="others")
    assert (third.step, third.position) == (2, {"samples": 0}), "other data begin anew"


def test_a_state_of_a_later_step_than_the_last_is_damaged(runner):
    one = runner(steps=2)
    put(one, saved(one, step=2))
    with pytest.raises(ValueError, match="it is of step 3, and the run has 2"):
        put(one, saved(one, step=3))


@pytest.mark.parametrize("taken", [-1, 2 * MOST_SAMPLES_PER_STEP + 1, True, 1.0, "1", None])
@pytest.mark.parametrize("name", ["samples", "consumed"])
def test_a_place_in_the_data_that_no_run_comes_to_is_damaged(runner, name, taken):
    one = runner()
    state = saved(one, step=2)
    state.state["batches"] = {name: taken}
    with pytest.raises(ValueError, match="in the data, which 2 steps can't reach"):
        put(one, state)


def test_the_furthest_place_that_a_run_can_come_to_is_taken(runner):
    one = runner()
    state = saved(one, step=2)
    state.state["batches"] = {"samples": 2 * 100_000}
    put(one, state)
    assert one.position == {"samples": 200_000}


@pytest.mark.parametrize(("name", "samples"), [("samples", 6), ("consumed", 18)])
def test_a_place_in_the_data_is_counted_in_samples_and_earlier_in_batches(runner, name, samples):
    one = runner(batch_size=3)
    state = saved(one, step=2)
    state.state["batches"] = {name: 6}
    put(one, state)
    assert one.position == {"samples": samples}


def test_a_state_of_other_layers_or_with_broken_numbers_is_refused(runner):
    one = runner()
    (first, second), before = sorted(saved(one).weights), saved(one).weights
    for wrong in (
        {first: before[first]},
        before | {"more": torch.zeros(1)},
        before | {second: before[second][:-1]},
        before | {second: before[second].T},
    ):
        with pytest.raises(CheckpointError, match="the checkpoint of step 0 has other trained"):
            put(one, saved(one, weights=wrong))
    broken = before | {second: torch.full_like(before[second], float("inf"))}
    with pytest.raises(ValueError, match=f"{second} holds NaN or infinite"):
        put(one, saved(one, weights=broken))
    assert all(torch.equal(saved(one).weights[name], value) for name, value in before.items())


@pytest.mark.parametrize("accumulated", [1, 3])
def test_the_host_waits_for_the_device_once_a_step(runner, monkeypatch, accumulated):
    """When it reads losses and the norm of the gradients, before the weights move."""
    monkeypatch.setattr(devices, "KINDS", (*devices.KINDS, Accelerator.device.type))
    with Accelerator() as accelerator:
        monkeypatch.setattr(devices, "_chosen", accelerator.device)
        one = runner(gradient_accumulation_steps=accumulated)
        one.run()
        before = accelerator.waits
        told = one.run()
        assert accelerator.waits - before == 1
    monkeypatch.setattr(devices, "_chosen", None)
    on_host = runner(gradient_accumulation_steps=accumulated)
    on_host.run()
    assert told.loss == pytest.approx(on_host.run().loss, rel=1e-5)
