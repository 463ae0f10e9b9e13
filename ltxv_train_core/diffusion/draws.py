"""Random numbers of a batch: each sample draws its own, wherever and with whichever others it is trained."""

from collections.abc import Sequence

import torch
from torch import Tensor

from ..storage.atomic import sha256_json


def sample_seed(seed: int, number: int) -> int:
    """The seed of one sample of a run.

    Args:
        seed: of the run.
        number: of the sample, counted through the whole run.
    """
    return int(sha256_json([seed, number])[:15], 16)


class SampleDraws:
    """Draws for a batch of B samples, on the CPU.

    A batch of two, two batches of one and two processes with one each so see the same numbers.
    """

    def __init__(self, seed: int, numbers: Sequence[int]):
        self._generators = [
            torch.Generator().manual_seed(sample_seed(seed, number)) for number in numbers
        ]

    def shared(self) -> "SampleDraws":
        """Draws in which every sample sees the numbers of the first one."""
        return _SharedDraws(self)

    def uniform(self, *shape: int) -> Tensor:
        """[B, *shape] between 0 and 1."""
        return torch.stack([torch.rand(shape, generator=each) for each in self._generators])

    def normal(self, *shape: int) -> Tensor:
        """[B, *shape] of the standard normal distribution."""
        return torch.stack([torch.randn(shape, generator=each) for each in self._generators])


class _SharedDraws(SampleDraws):
    def __init__(self, draws: SampleDraws):
        self._generators = draws._generators[:1]
        self._count = len(draws._generators)

    def uniform(self, *shape: int) -> Tensor:
        return super().uniform(*shape).expand(self._count, *shape)

    def normal(self, *shape: int) -> Tensor:
        return super().normal(*shape).expand(self._count, *shape)
