"""Metrics of a run as columns to draw, averaged over neighbouring steps where there are many."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ..events import NOISE_BANDS, StepCompleted
from .smoothing import smooth_losses


@dataclass(frozen=True)
class Curves:
    """Columns of equal length, one row for each step or for each stretch of neighbouring steps.

    Attributes:
        step: the last step of the stretch.
        loss, grad_norm: means; None where no value is finite.
        smooth_loss: the average at the last step.
        loss_low, loss_high: the range of the loss.
        learning_rate: of the last step.
        step_seconds: mean time of a step.
        memory_bytes: the most memory of a step.
        loss_by_noise: a column for each noise band, means.
        video_loss, audio_loss, audio_loss_by_noise: means; None in runs without sound.
        loss_by_data_set: a column for each data set of a run with several, means; none in other runs.
    """

    step: list[int]
    loss: list[float | None]
    smooth_loss: list[float | None]
    loss_low: list[float | None]
    loss_high: list[float | None]
    learning_rate: list[float | None]
    grad_norm: list[float | None]
    step_seconds: list[float | None]
    memory_bytes: list[float | None]
    loss_by_noise: list[list[float | None]]
    video_loss: list[float | None]
    audio_loss: list[float | None]
    audio_loss_by_noise: list[list[float | None]]
    loss_by_data_set: list[list[float | None]]


def curves(metrics: Sequence[StepCompleted], points: int | None = None) -> Curves:
    """The columns of a run.

    Args:
        points: the most rows; None gives every step one. Single peaks stay visible in
            `loss_low` and `loss_high`.
    """
    width = 1 if points is None else max(1, math.ceil(len(metrics) / points))
    stretches = [metrics[first : first + width] for first in range(0, len(metrics), width)]
    losses = [_finite(each.loss for each in stretch) for stretch in stretches]
    averages = smooth_losses(metrics)
    smooth = [averages[first : first + width] for first in range(0, len(metrics), width)]
    data_sets = max((len(each.loss_by_data_set) for each in metrics), default=0)
    return Curves(
        step=[stretch[-1].step for stretch in stretches],
        loss=[_mean(values) for values in losses],
        smooth_loss=[next(iter(_finite(values[::-1])), None) for values in smooth],
        loss_low=[min(values, default=None) for values in losses],
        loss_high=[max(values, default=None) for values in losses],
        learning_rate=[_mean(_finite([s[-1].learning_rate])) for s in stretches],
        grad_norm=[_mean(_finite(each.grad_norm for each in s)) for s in stretches],
        step_seconds=[_mean(_finite(each.step_seconds for each in s)) for s in stretches],
        memory_bytes=[
            max(_finite(each.memory_bytes for each in s), default=None) for s in stretches
        ],
        loss_by_noise=_columns(
            [[each.loss_by_noise for each in s] for s in stretches], NOISE_BANDS
        ),
        video_loss=[_mean(_finite(each.video_loss for each in s)) for s in stretches],
        audio_loss=[_mean(_finite(each.audio_loss for each in s)) for s in stretches],
        audio_loss_by_noise=_columns(
            [[each.audio_loss_by_noise for each in s] for s in stretches], NOISE_BANDS
        ),
        loss_by_data_set=_columns(
            [[each.loss_by_data_set for each in s] for s in stretches], data_sets
        ),
    )


def _columns(
    stretches: Sequence[Sequence[tuple[float, ...]]], count: int
) -> list[list[float | None]]:
    """So many columns, from what steps have of each: noise bands, or data sets."""
    return [
        [
            _mean(_finite(parts[number] for parts in steps if number < len(parts)))
            for steps in stretches
        ]
        for number in range(count)
    ]


def _finite(values: Iterable[float]) -> list[float]:
    return [value for value in values if math.isfinite(value)]


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None
