import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ltxv_train_core.config import OptimizationConfig
from ltxv_train_core.optim import build_optimizer, build_schedule


def rates(kind, steps=100, warmup=0, beyond=0, **params):
    """The learning rate of each step, and of some after the end, as a share of the configured."""
    config = OptimizationConfig(
        learning_rate=2.0e-3,
        steps=steps,
        scheduler_type=kind,
        scheduler_params=params,
        warmup_steps=warmup,
    )
    optimizer = build_optimizer(config, [torch.nn.Parameter(torch.zeros(1))])
    schedule = build_schedule(config, optimizer)
    result = []
    for _ in range(steps + 1 + beyond):
        result.append(schedule.get_last_lr()[0] / 2.0e-3)
        optimizer.step()
        schedule.step()
    return result


@pytest.mark.parametrize(
    ("kind", "params", "wanted"),
    [
        ("constant", {}, {0: 1, 50: 1, 100: 1}),
        ("linear", {}, {0: 1, 50: 0.55, 100: 0.1}),
        ("linear", {"start_factor": 0.5, "end_factor": 0}, {0: 0.5, 50: 0.25, 100: 0}),
        ("cosine", {}, {0: 1, 50: 0.5, 100: 0}),
        ("cosine", {"eta_min": 1e-3}, {0: 1, 50: 0.75, 100: 0.5}),
        ("cosine_with_restarts", {"cycles": 2}, {0: 1, 25: 0.5, 50: 1, 75: 0.5}),
        ("cosine_with_restarts", {"eta_min": 1e-3}, {0: 1, 5: 0.9522542, 25: 1, 30: 0.9522542}),
        ("polynomial", {}, {0: 1, 50: 0.5, 100: 0}),
        ("polynomial", {"power": 2}, {0: 1, 50: 0.25, 100: 0}),
    ],
)
def test_schedules(kind, params, wanted):
    curve = rates(kind, **params)
    assert {step: curve[step] for step in wanted} == pytest.approx(wanted, abs=1e-6)


def test_the_schedule_runs_over_what_the_warmup_leaves():
    curve = rates("linear", warmup=20, end_factor=0)
    assert curve[:2] == pytest.approx([1 / 21, 2 / 21])
    assert curve[20] == 1
    assert curve[60] == pytest.approx(0.5)
    assert curve[100] == pytest.approx(0)
    assert max(curve) == 1


@pytest.mark.parametrize(
    ("kind", "last"), [("constant", 1), ("linear", 0.1), ("cosine", 0), ("polynomial", 0)]
)
def test_after_the_last_step_the_rate_stays(kind, last):
    """A run that trains on past its end asks for rates there."""
    assert rates(kind, steps=10, beyond=5)[10:] == pytest.approx([last] * 6, abs=1e-9)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(
    kind=st.sampled_from(["constant", "linear", "cosine", "polynomial", "cosine_with_restarts"]),
    steps=st.integers(2, 60),
    warmup=st.integers(0, 59),
)
def test_a_rate_rises_evenly_in_the_warmup_and_never_after(kind, steps, warmup):
    warmup = min(warmup, steps - 1)
    curve = rates(kind, steps, warmup)
    assert curve[: warmup + 1] == pytest.approx(
        [n / (warmup + 1) for n in range(1, warmup + 2)], abs=1e-9
    )
    assert all(0 <= rate <= 1 for rate in curve)
    falls = all(a >= b - 1e-12 for a, b in zip(curve[warmup:], curve[warmup + 1 :], strict=False))
    assert falls or kind == "cosine_with_restarts"


def test_a_cosine_is_symmetric_about_its_middle():
    curve = rates("cosine", steps=40)
    assert [a + b for a, b in zip(curve, reversed(curve), strict=True)] == pytest.approx([1] * 41)
    assert curve[10] == pytest.approx((1 + math.sqrt(0.5)) / 2)
