"""Which step of a run is best, by the loss of clips that it never trained on, and how sure that is."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from .held_out_file import HeldOutLosses

FloatArray = npt.NDArray[np.float64]

RESAMPLES = 2000
"""Draws of the clips with replacement: the bootstrap (Efron 1979)."""
_SURE = 0.9
_SEED = 0
_MOST_AT_ONCE = 2**22
"""Numbers of the draws in memory: of many steps and clips a few draws at a time."""


@dataclass(frozen=True)
class BestStep:
    """The measured step with the lowest loss.

    Attributes:
        loss: of it, the mean over clips and noise levels.
        first, last: in 90 of 100 draws of the clips the best step lies between these.
        gain: by how much its loss is below that of the first measured step, as a share of that.
        steps_since: steps that were made since without a lower loss.
        overfits: whether the loss has risen since, in at least 90 of 100 draws.
    """

    step: int
    loss: float
    first: int
    last: int
    gain: float
    steps_since: int
    overfits: bool

    @property
    def text(self) -> str:
        """What it means, in one or two sentences."""
        span = "" if self.first == self.last else f" (as likely from {self.first} to {self.last})"
        told = f"best step {self.step}{span}: held-out loss {self.loss:.4f}"
        if self.gain > 0:
            told += f", {100 * self.gain:.1f} % below the first measured"
        if self.overfits:
            return (
                f"{told}. It has risen since: the run learns its clips by heart (overfitting). Use this step, "
                "or train on more clips"
            )
        if self.steps_since > 0:
            return f"{told}. Nothing gained in {self.steps_since} steps since"
        return told


def best_step(measured: Sequence[HeldOutLosses]) -> BestStep | None:
    """The best of the measured steps; None where there are none. Of equal ones the earliest."""
    if not measured:
        return None
    steps = [each.step for each in measured]
    clips = np.array([each.by_clip for each in measured])  # [steps, clips]
    means = clips.mean(1)
    best = int(means.argmin())
    bests, risen = [], []
    for drawn in _drawn(clips):
        bests.append(drawn.argmin(0))
        risen.append(drawn[-1] > drawn[best])
    low, high = np.quantile(
        np.concatenate(bests), [(1 - _SURE) / 2, (1 + _SURE) / 2], method="inverted_cdf"
    )
    return BestStep(
        step=steps[best],
        loss=float(means[best]),
        first=steps[int(low)],
        last=steps[int(high)],
        gain=float(1 - means[best] / means[0]) if means[0] > 0 else 0.0,
        steps_since=steps[-1] - steps[best],
        overfits=bool(np.concatenate(risen).mean() >= _SURE),
    )


def _drawn(clips: FloatArray) -> Iterator[FloatArray]:
    """Mean losses of draws of the clips, [steps, draws], some draws at a time."""
    steps, count = clips.shape
    random = np.random.default_rng(_SEED)
    at_once = max(1, _MOST_AT_ONCE // max(steps, count))
    for begin in range(0, RESAMPLES, at_once):
        numbers = random.integers(count, size=(min(at_once, RESAMPLES - begin), count))
        taken = np.stack([np.bincount(row, minlength=count) for row in numbers], axis=1)
        yield clips @ taken.astype(np.float64) / count
