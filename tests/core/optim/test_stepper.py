import pytest
import torch

from ltxv_train_core import config
from ltxv_train_core.config import TrainingConfig
from ltxv_train_core.errors import LTXVTrainError, NotFiniteError
from ltxv_train_core.optim.stepper import OptimizerStepper

CPU = torch.device("cpu")


def step(moving, number, loss, clips=""):
    """A step as the loop makes it; returns the norm of its gradients."""
    norm = moving.clip().item()
    moving.step(number, loss, norm, clips)
    return norm


def mover(mode, report=lambda event: None, **options):
    values = {
        "optimization": {"steps": 100, **options},
        "acceleration": {"mixed_precision_mode": mode},
        "data": {"preprocessed_data_root": "data"},
    }
    weight = torch.nn.Parameter(torch.ones(4))
    return OptimizerStepper(config.build(TrainingConfig, values), [weight], CPU, report), weight


def move(mover, weight, number, slope):
    """A step whose gradient passes through float16."""
    mover.backward((weight.half() * slope).float().sum())
    return step(mover, number, 1.0)


def test_fp16_lowers_its_scale_until_gradients_fit_and_no_longer():
    messages = []
    moving, weight = mover("fp16", lambda event: messages.append(event.message))
    before = weight.detach().clone()
    for number in range(1, 12):
        move(moving, weight, number, slope=2000.0)
        assert torch.equal(weight, before)
    assert moving.scaler.get_scale() == 2.0**5
    assert len(messages) == 11
    assert messages[-1] == "step 11: gradients overflowed fp16 at scale 64; it is lowered"
    norm = move(moving, weight, 12, slope=2000.0)
    assert norm == pytest.approx(4000.0)
    assert not torch.equal(weight, before)
    assert moving.schedule.last_epoch == 12


def steps_until_it_gives_up(moving, weight, slope, loss):
    numbers = iter(range(1, 40))

    def move_on():
        for number in numbers:
            moving.backward((weight * slope).sum())
            step(moving, number, loss)
            moving.require_finite()

    with pytest.raises(LTXVTrainError, match="not finite 10 steps in a row"):
        move_on()
    return next(numbers) - 1


@pytest.mark.parametrize("mode", ["no", "fp16"])
def test_a_loss_that_stays_not_finite_ends_the_run(mode):
    moving, weight = mover(mode)
    assert steps_until_it_gives_up(moving, weight, float("nan"), float("nan")) == 10
    assert torch.equal(weight, torch.ones(4))
    assert moving.skipped_steps == 10
    assert steps_until_it_gives_up(moving, weight, float("nan"), float("nan")) == 10, (
        "as many again"
    )
    with pytest.raises(NotFiniteError, match="every step was skipped"):
        moving.require_moved()


def test_overflows_that_no_scale_cures_end_the_run():
    moving, weight = mover("fp16")
    assert steps_until_it_gives_up(moving, weight, float("inf"), 1.0) == 16 + 10
    assert torch.equal(weight, torch.ones(4))


def test_prodigy_tells_the_rate_that_it_finds():
    options = {"optimizer_type": "prodigy", "learning_rate": 0.5, "scheduler_type": "constant"}
    moving, weight = mover("no", **options)
    rates = []
    for number in range(1, 41):
        rates.append(moving.learning_rate)
        moving.backward((weight - 3).square().sum())
        step(moving, number, 1.0)
    assert rates[0] == pytest.approx(0.5e-6)
    assert rates == sorted(rates)
    assert rates[-1] > 100 * rates[0]


def test_the_average_leaves_out_what_the_weights_left_out():
    moving, weight = mover("no", ema_decay=0.9)
    moving.backward((weight * float("nan")).sum())
    step(moving, 1, float("nan"))
    assert moving.average.updates == 0
    moving.backward(weight.sum())
    step(moving, 2, 1.0)
    assert moving.average.updates == 1
    with moving.weights_to_sample():
        shown = weight.detach().clone()
    assert torch.allclose(shown, torch.ones(4) * 2 / 11 + weight * 9 / 11)


def test_a_finite_step_begins_the_count_anew():
    moving, weight = mover("no", max_non_finite_steps=3)
    for number in range(1, 4):
        for loss in (float("nan"), float("nan"), 1.0):
            moving.backward(weight.sum())
            step(moving, number, loss)
            moving.require_finite()
    assert (moving.skipped_steps, moving.moved_steps) == (6, 3)
    moving.require_moved()


def test_a_step_is_left_out_for_its_loss_or_its_gradients_and_names_its_clips():
    messages = []
    moving, weight = mover("no", lambda event: messages.append(event.message))
    for number, (slope, loss) in enumerate([(1.0, float("inf")), (float("inf"), 1.0)], start=1):
        moving.backward((weight * slope).sum())
        step(moving, number, loss, clips="its clips: a.mp4")
        assert torch.equal(weight, torch.ones(4))
        assert weight.grad is None
    assert messages == [
        f"step {n} skipped: the loss is NaN or infinite (its clips: a.mp4)" for n in (1, 2)
    ]
    assert moving.schedule.last_epoch == 2


@pytest.mark.parametrize(("limit", "length"), [(0.5, 0.5), (100.0, 6.0), (0.0, 6.0)])
def test_gradients_are_clipped_to_their_norm(limit, length):
    """Four of 3 have the norm 6; 0 clips nothing."""
    moving, weight = mover("no", max_grad_norm=limit)
    lengths = []
    moving.optimizer.register_step_pre_hook(
        lambda *arguments: lengths.append(weight.grad.norm().item())
    )
    moving.backward((weight * 3).sum())
    assert step(moving, 1, 1.0) == pytest.approx(6.0)
    assert lengths == pytest.approx([length], rel=1e-4)


def test_only_fp16_scales_its_loss():
    for mode, scale in (("fp16", 2.0**16), ("bf16", 1.0), ("no", 1.0)):
        moving, weight = mover(mode)
        moving.backward(weight.sum())
        assert weight.grad.tolist() == [scale] * 4


def test_samples_are_of_the_weights_where_there_is_no_average():
    moving, weight = mover("no")
    move(moving, weight, 1, slope=1.0)
    before = weight.detach().clone()
    with moving.weights_to_sample(), moving.final_weights():
        assert torch.equal(weight, before)


def test_the_rate_that_is_told_is_without_the_factors_of_layers():
    values = {
        "optimization": {"learning_rate": 0.1, "scheduler_type": "constant", "steps": 9},
        "data": {"preprocessed_data_root": "data"},
    }
    weights = [torch.nn.Parameter(torch.ones(4)) for _ in range(2)]
    built = config.build(TrainingConfig, values)
    moving = OptimizerStepper(built, weights, CPU, lambda event: None, rates=[4.0, 2.0])
    assert moving.learning_rate == pytest.approx(0.1)
    moving.backward(sum(weight.sum() for weight in weights))
    step(moving, 1, 1.0)
    assert moving.learning_rate == pytest.approx(0.1)
    assert [weight[0].item() for weight in weights] == pytest.approx([0.596, 0.798], abs=1e-4)
