"""A stepper takes over a saved state, or says what is wrong with it."""

import copy
import math

import pytest
import torch

from ltxv_train_core import config
from ltxv_train_core.config import TrainingConfig
from ltxv_train_core.errors import NotFiniteError
from ltxv_train_core.optim.stepper import OptimizerStepper

NAN, INF = math.nan, math.inf


def stepper(mode="no", weights=4, parameters=1, **options):
    values = {
        "optimization": {"steps": 10, "learning_rate": 1e-3, **options},
        "acceleration": {"mixed_precision_mode": mode},
        "data": {"preprocessed_data_root": "data"},
    }
    trained = [torch.nn.Parameter(torch.ones(weights)) for _ in range(parameters)]
    built = config.build(TrainingConfig, values)
    return OptimizerStepper(built, trained, torch.device("cpu"), lambda event: None)


def move(moving, steps, loss=1.0):
    for number in range(1, steps + 1):
        moving.backward(sum(p.sum() for p in moving.parameters))
        moving.step(number, loss, moving.clip().item())
    return moving


def saved(moving):
    return copy.deepcopy(moving.state_dict())


def test_counts_and_moments_go_on():
    before = move(move(stepper(ema_decay=0.5), 3), 2, loss=NAN)
    after = stepper(ema_decay=0.5)
    after.load_state_dict(saved(before))
    assert (after.moved_steps, after.skipped_steps) == (3, 2)
    assert after.schedule.last_epoch == 5
    assert after.average.updates == 3
    assert torch.equal(after.average.average[0], before.average.average[0])
    moments = after.optimizer.state[after.parameters[0]]
    assert moments["step"] == 3
    assert moments["exp_avg"].tolist() == pytest.approx([0.5 * (1 - 0.9**3)] * 4), "clipped from 1"
    for _ in range(8):
        after.require_finite()
        move(after, 1, loss=NAN)
    with pytest.raises(NotFiniteError, match="not finite 10 steps in a row"):
        after.require_finite()


def test_what_is_in_a_format_of_its_own_stays_in_it():
    """prodigy_schedulefree sums in bfloat16: in float32 a resumed run would become another one."""
    options = {"optimizer_type": "prodigy_schedulefree", "scheduler_type": "constant"}
    options["learning_rate"] = 1.0
    before = move(stepper(weights=64, **options), 3)
    after = stepper(weights=64, **options)
    after.load_state_dict(saved(before))
    ours, theirs = (each.optimizer.state[each.parameters[0]] for each in (after, before))
    assert ours["s"].dtype == theirs["s"].dtype == torch.bfloat16
    assert torch.equal(ours["s"], theirs["s"])


def test_the_rate_goes_on_with_that_of_the_saved_schedule():
    before = move(stepper(), 5)
    after = stepper(learning_rate=7e-3)
    after.load_state_dict(saved(before))
    assert after.learning_rate == before.learning_rate == pytest.approx(0.55e-3)
    assert after.optimizer.param_groups[0]["initial_lr"] == 1e-3


def test_a_new_schedule_has_a_rate_and_counts_of_its_own():
    before = move(move(stepper(), 3), 2, loss=NAN)
    after = stepper(learning_rate=7e-3)
    after.load_state_dict(saved(before), new_schedule=True)
    assert after.learning_rate == 7e-3
    assert (after.moved_steps, after.skipped_steps, after.schedule.last_epoch) == (0, 0, 0)
    assert after.optimizer.state[after.parameters[0]]["step"] == 3
    assert move(after, 1).learning_rate == pytest.approx(7e-3 * 0.91)


def test_a_longer_run_has_the_rates_of_its_own_length():
    after = stepper(steps=20)
    after.load_state_dict(saved(move(stepper(), 5)))
    assert after.learning_rate == pytest.approx(1e-3 * (1 - 0.9 * 5 / 20))


def test_the_average_begins_with_the_weights_where_none_was_saved():
    after = stepper(ema_decay=0.5)
    after.parameters[0].data.fill_(3.0)
    after.load_state_dict(saved(move(stepper(), 2)))
    assert after.average.updates == 0
    assert after.average.average[0].tolist() == [3.0] * 4
    assert after.average.decay == 0.5


def test_the_scale_of_fp16_goes_on():
    before = move(stepper("fp16"), 1)
    before.scaler.update(8.0)
    after = stepper("fp16")
    after.load_state_dict(saved(before))
    assert after.scaler.get_scale() == 8.0
    other = stepper("no")
    other.load_state_dict(saved(before))
    assert other.scaler.get_scale() == 1.0
    back = stepper("fp16")
    back.load_state_dict(saved(move(stepper("no"), 1)))
    assert back.scaler.get_scale() == 2.0**16


def test_states_of_earlier_versions_and_other_releases_of_torch_are_taken():
    state = saved(move(stepper(), 4))
    del state["moved_steps"]
    state["schedule"] |= {"unknown": 1}
    del state["schedule"]["_last_lr"]
    state["optimizer"]["param_groups"][0].pop("foreach")
    after = stepper()
    after.load_state_dict(state)
    assert (after.moved_steps, after.schedule.last_epoch) == (1, 4)
    after.require_moved()


def put(*path_and_value):
    *path, last, value = path_and_value

    def change(state):
        for key in path:
            state = state[key]
        state[last] = value

    return change


GROUP = ("optimizer", "param_groups", 0)
MOMENTS = ("optimizer", "state", 0)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (put("skipped_steps", -1), "a number of steps is none"),
        (put("skipped_in_a_row", 1.0), "a number of steps is none"),
        (put("moved_steps", True), "a number of steps is none"),
        (put("schedule", "last_epoch", -1), "a number of steps is none"),
        (put("schedule", "base_lrs", [INF]), "a learning rate is not finite"),
        (put("schedule", "base_lrs", [1e-3, 1e-3]), "of another optimizer"),
        (put("schedule", "base_lrs", []), "of another optimizer"),
        (put("schedule", "_step_count", "4"), "_step_count of the schedule is of another kind"),
        (put(*GROUP, "lr", "fast"), "lr of the optimizer is of another kind"),
        (put(*GROUP, "lr", NAN), "lr of the optimizer is of another kind"),
        (put(*GROUP, "lr", True), "lr of the optimizer is of another kind"),
        (put(*GROUP, "amsgrad", 1), "amsgrad of the optimizer is of another kind"),
        (put(*GROUP, "betas", (0.9, "x")), "betas of the optimizer is of another kind"),
        (put(*GROUP, "betas", (0.9,)), "betas of the optimizer is of another kind"),
        (put("optimizer", "param_groups", []), "shorter"),
        (put(*MOMENTS, "exp_avg", torch.zeros(3)), "exp_avg of the optimizer is of another model"),
        (put(*MOMENTS, "exp_avg", 1.0), "exp_avg of the optimizer is of another model"),
        (put(*MOMENTS, "exp_avg_sq", torch.full((4,), NAN)), "exp_avg_sq .* NaN or infinite"),
        (put("scaler", "scale", INF), "scale is no number"),
        (put("scaler", "growth_factor", "2"), "growth_factor is no number"),
        (put("scaler", "scale", True), "scale is no number"),
    ],
)
def test_a_damaged_state_is_refused(change, why):
    state = saved(move(stepper("fp16"), 2))
    change(state)
    with pytest.raises((KeyError, TypeError, ValueError, RuntimeError), match=why):
        stepper("fp16").load_state_dict(state)


def test_betas_may_be_a_list_of_whole_numbers():
    state = saved(move(stepper(), 2))
    put(*GROUP, "betas", [0, 0.99])(state)
    stepper().load_state_dict(state)


def test_a_state_of_adamw_that_was_not_fused_goes_on_fused():
    """As earlier versions have written it."""
    plain = move(stepper(), 2)
    weights = [p.detach().clone() for p in plain.parameters]
    state = saved(plain)
    for group in state["optimizer"]["param_groups"]:
        group["fused"] = None
    later = stepper()
    later.load_state_dict(state)
    for parameter, weight in zip(later.parameters, weights, strict=True):
        parameter.data.copy_(weight)
    assert all(group["fused"] for group in later.optimizer.param_groups)
    expected, found = (move(each, 1).parameters for each in (plain, later))
    assert all(torch.equal(a, b) for a, b in zip(expected, found, strict=True))
