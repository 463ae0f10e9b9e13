"""The one smoothing of the loss: what charts draw as its curve, and what is called its average."""

import math
from collections.abc import Iterable, Sequence

from ..events import StepCompleted

WEIGHT = 0.95
"""Of the past: about 40 steps count, so that a trend shows among losses that differ with their noise levels."""


class LossAverage:
    """Exponential moving average of the loss, corrected for its start. A loss that is not finite leaves it."""

    def __init__(self) -> None:
        self._sum = self._norm = 0.0

    @classmethod
    def of(cls, losses: Iterable[float]) -> "LossAverage":
        """After these losses."""
        average = cls()
        for loss in losses:
            average.add(loss)
        return average

    def add(self, loss: float) -> float:
        """The average with one more loss; NaN for a loss that is not finite."""
        if not math.isfinite(loss):
            return math.nan
        self._sum = WEIGHT * self._sum + (1 - WEIGHT) * loss
        self._norm = WEIGHT * self._norm + (1 - WEIGHT)
        return self._sum / self._norm


def smooth_losses(metrics: Sequence[StepCompleted]) -> list[float]:
    """The average at each step: as it was recorded, or, of runs of earlier versions, from the steps given."""
    average = LossAverage()
    found = []
    for each in metrics:
        value = average.add(each.loss)
        found.append(each.smooth_loss if math.isfinite(each.smooth_loss) else value)
    return found
