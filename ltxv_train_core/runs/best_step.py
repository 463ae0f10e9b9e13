"""Which step of a run is best, by the loss of clips that it never trained on, and how sure that is."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .held_out_file import HeldOutLosses

RESAMPLES = 2000
"""Draws of the clips with replacement: the bootstrap (Efron 1979)."""
_SURE = 0.9
_SEED = 0


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
    numbers = np.random.default_rng(_SEED).integers(
        clips.shape[1], size=(RESAMPLES, clips.shape[1])
    )
    drawn = clips[:, numbers].mean(2)  # [steps, resamples]
    low, high = np.quantile(
        drawn.argmin(0), [(1 - _SURE) / 2, (1 + _SURE) / 2], method="inverted_cdf"
    )
    return BestStep(
        step=steps[best],
        loss=float(means[best]),
        first=steps[int(low)],
        last=steps[int(high)],
        gain=float(1 - means[best] / means[0]),
        steps_since=steps[-1] - steps[best],
        overfits=bool((drawn[-1] > drawn[best]).mean() >= _SURE),
    )
