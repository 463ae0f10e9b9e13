"""Draws for many samples from one generator: one for each of 200,000 would take seconds to make."""

import torch

from ltxv_train_core.diffusion.draws import SampleDraws


class OneGenerator(SampleDraws):
    def __init__(self, seed: int, count: int):
        self.generator, self.count = torch.Generator().manual_seed(seed), count

    def uniform(self, *shape: int) -> torch.Tensor:
        return torch.rand(self.count, *shape, generator=self.generator)

    def normal(self, *shape: int) -> torch.Tensor:
        return torch.randn(self.count, *shape, generator=self.generator)
