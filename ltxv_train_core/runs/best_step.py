"""Which step of a run is best, by the loss of clips that it never trained on, and how sure that is."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from .held_out_file import HeldOutLosses, percent

FloatArray = npt.NDArray[np.float64]

RESAMPLES = 2000
"""Draws of the clips with replacement: the bootstrap (Efron 1979)."""
_SURE = 0.9
_FORGETS = 0.1
"""Of the predictions' squares: by so much a model has moved without a prompt when that is worth a sentence."""
_LONG = 0.5
"""After half as many steps again without a gain, stopping is proposed."""
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
        moved, moved_without_prompt: see `HeldOutLosses`.
        by_data_set: of each data set, where the clips are of several, the step at which its own loss is lowest.
    """

    step: int
    loss: float
    first: int
    last: int
    gain: float
    steps_since: int
    overfits: bool
    moved: float | None = None
    moved_without_prompt: float | None = None
    by_data_set: dict[str, int] = field(default_factory=dict)

    @property
    def text(self) -> str:
        """What it means, in one to three sentences."""
        return f"{self._loss_text}. {self._forgotten_text}" if self.forgets else self._loss_text

    @property
    def forgets(self) -> bool:
        """Whether the model has moved far from its base where nothing was asked of it."""
        return self.moved_without_prompt is not None and self.moved_without_prompt >= _FORGETS

    @property
    def _forgotten_text(self) -> str:
        assert self.moved is not None
        assert self.moved_without_prompt is not None
        return (
            f"Without a prompt it has moved {percent(self.moved_without_prompt)} from its base (with captions "
            f"{percent(self.moved)}): what the base could is changed too. Use an earlier step, a lower strength, or "
            "optimization.preservation"
        )

    @property
    def _what_to_do(self) -> str:
        if self.steps_since < _LONG * max(1, self.step):
            return "it may still fall"
        return "stopping is advised: use this step, or train on more clips"

    @property
    def _loss_text(self) -> str:
        span = "" if self.first == self.last else f" (as likely from {self.first} to {self.last})"
        told = f"best step {self.step}{span}: held-out loss {self.loss:.4f}"
        if self.gain > 0:
            told += f", {100 * self.gain:.1f} % below the first measured"
        if len(set(self.by_data_set.values())) > 1:
            own = "; ".join(f"{step} of {name}" for name, step in self.by_data_set.items())
            return f"{told}. Each data set has a best step of its own, {own}: use that of the one you train for"
        if self.overfits:
            return (
                f"{told}. It has risen since: the run learns its clips by heart (overfitting). Use this step, "
                "or train on more clips"
            )
        if self.steps_since > 0:
            return f"{told}. Nothing gained in {self.steps_since} steps since: {self._what_to_do}"
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
        moved=measured[best].moved,
        moved_without_prompt=measured[best].moved_without_prompt,
        by_data_set=_best_by_data_set(measured),
    )


def _best_by_data_set(measured: Sequence[HeldOutLosses]) -> dict[str, int]:
    """The step with the lowest loss of each data set, where the clips are of several; of equal ones the earliest."""
    return {
        name: min(
            (each for each in measured if name in each.by_data_set),
            key=lambda each: each.by_data_set[name],
        ).step
        for name in measured[-1].by_data_set
    }


def _drawn(clips: FloatArray) -> Iterator[FloatArray]:
    """Mean losses of draws of the clips, [steps, draws], some draws at a time."""
    steps, count = clips.shape
    random = np.random.default_rng(_SEED)
    at_once = max(1, _MOST_AT_ONCE // max(steps, count))
    for begin in range(0, RESAMPLES, at_once):
        numbers = random.integers(count, size=(min(at_once, RESAMPLES - begin), count))
        taken = np.stack([np.bincount(row, minlength=count) for row in numbers], axis=1)
        yield clips @ taken.astype(np.float64) / count
