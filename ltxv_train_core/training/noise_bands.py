"""The loss by noise level: noisy samples are harder, so that the loss of a step says little alone."""

import math
from collections.abc import Iterator

from ..events import NOISE_BANDS


class NoiseBands:
    """Means of the losses of samples, by the band that their noise level is in."""

    def __init__(self) -> None:
        self._sums = [0.0] * NOISE_BANDS
        self._counts = [0.0] * NOISE_BANDS

    @classmethod
    def of(cls, numbers: Iterator[float]) -> "NoiseBands":
        """Those of the next `numbers`, which may be means over several processes."""
        made = cls()
        made._sums = [next(numbers) for _ in made._sums]
        made._counts = [next(numbers) for _ in made._counts]
        return made

    @property
    def numbers(self) -> list[float]:
        """All that it holds, for `of`."""
        return [*self._sums, *self._counts]

    def add(self, level: float, loss: float) -> None:
        """Adds a sample with its noise level, 0 to 1."""
        band = min(NOISE_BANDS - 1, int(level * NOISE_BANDS))
        self._sums[band] += loss
        self._counts[band] += 1

    @property
    def mean(self) -> float:
        """Of the losses of all samples, NaN where there are none."""
        samples = sum(self._counts)
        return sum(self._sums) / samples if samples else math.nan

    def means(self) -> tuple[float, ...]:
        """The mean of each band, NaN where it has no sample."""
        pairs = zip(self._sums, self._counts, strict=True)
        return tuple(total / count if count else math.nan for total, count in pairs)
