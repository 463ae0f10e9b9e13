"""Warnings about losses that explode, and names of clips behind a loss that is not finite."""

import math
from collections import deque
from statistics import median

from ..errors import cut

# Loss varies by noise level: a mean of fewer steps raises false alarms.
WINDOW_STEPS = 20
_LEAST_STEPS = 3
FACTOR = 100.0
"""Between the easiest and the hardest noise level of one clip lie factors up to about 50."""

MOST_NAMED = 8


class LossWatch:
    """Detects a loss that explodes: one over `FACTOR` times the lowest running median so far."""

    def __init__(self) -> None:
        self._recent: deque[float] = deque(maxlen=WINDOW_STEPS)
        self._lowest = math.inf
        self._has_warned = False

    def warning(self, step: int, loss: float) -> str | None:
        """The warning for the loss of a step, the first time that it explodes; otherwise None."""
        if not math.isfinite(loss):
            return None
        before, explodes = self._lowest, loss > FACTOR * self._lowest and not self._has_warned
        self._has_warned |= explodes
        self._recent.append(loss)
        if len(self._recent) >= _LEAST_STEPS:
            self._lowest = min(self._lowest, median(self._recent))
        if not explodes:
            return None
        return (
            f"step {step}: the loss is {loss:.3g}, over {FACTOR:g} times what it was "
            f"({before:.3g}): training diverges. Lower optimization.learning_rate; an earlier "
            "checkpoint may be good"
        )


def named_clips(clips: list[str], broken: list[str]) -> str:
    """The clips of a skipped step, as a message names them.

    Args:
        broken: what of them holds numbers that are not finite, as `Batch.not_finite` names it.
    """
    shown = ", ".join(cut(each) for each in (broken or clips)[:MOST_NAMED])
    if not broken:
        return f"its clips: {shown}"
    return f"NaN or infinite numbers are in the {shown}: delete these files and preprocess again"
