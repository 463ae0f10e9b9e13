"""Columns to draw."""

import math

from ltxv_train_core.events import StepCompleted
from ltxv_train_core.runs.curves import curves


def measured(losses: list[float]) -> list[StepCompleted]:
    return [
        StepCompleted(i + 1, len(losses), loss, 1e-3 * (i + 1), math.inf, 0.5, 1.0)
        for i, loss in enumerate(losses)
    ]


def test_every_step_is_a_row() -> None:
    columns = curves(measured([3.0, math.nan, 1.0]))
    assert columns.step == [1, 2, 3]
    assert columns.loss == columns.loss_low == columns.loss_high == [3.0, None, 1.0]
    assert columns.learning_rate == [1e-3, 2e-3, 3e-3]
    assert columns.grad_norm == [None, None, None]


def test_thinned_rows_keep_the_mean_and_the_peaks() -> None:
    losses = [1.0] * 98 + [12.0, 50.0, math.nan]
    columns = curves(measured(losses), points=10)
    assert len(columns.step) == 10
    assert columns.step[-1] == 101
    assert columns.loss[0] == 1.0
    assert columns.loss[-2:] == [2.0, 50.0]
    assert columns.loss_high[-2:] == [12.0, 50.0]
    assert len(curves(measured(losses), points=1000).step) == 101


def test_nothing_measured_is_no_row() -> None:
    assert curves([], points=5).step == []
