import pytest
import torch

from ltxv_train_core.config import OptimizationConfig
from ltxv_train_core.optim import build_optimizer, build_schedule


def rates(kind, steps=100, warmup=0, **params):
    """The learning rate of each step, as a share of the first."""
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
    for _ in range(steps + 1):
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
