"""The loss by noise level: noisy samples are harder, so that the loss of a step says little alone."""

import math

from ..events import NOISE_BANDS


class NoiseBands:
    """Means of the losses of samples, by the band that their noise level is in."""

    def __init__(self) -> None:
        self._sums = [0.0] * NOISE_BANDS
        self._counts = [0] * NOISE_BANDS

    def add(self, level: float, loss: float) -> None:
        """Adds a sample with its noise level, 0 to 1."""
        band = min(NOISE_BANDS - 1, int(level * NOISE_BANDS))
        self._sums[band] += loss
        self._counts[band] += 1

    @property
    def total(self) -> float:
        """The sum of the losses of all samples."""
        return sum(self._sums)

    @property
    def samples(self) -> int:
        return sum(self._counts)

    def means(self) -> tuple[float, ...]:
        """The mean of each band, NaN where it has no sample."""
        pairs = zip(self._sums, self._counts, strict=True)
        return tuple(total / count if count else math.nan for total, count in pairs)
