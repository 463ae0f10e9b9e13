"""Dropout of a LoRA's inputs, from random numbers of its own."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ..storage.atomic import sha256_json


@dataclass
class DropoutSeed:
    """Of the forward pass that runs now; shared by the layers of a transformer."""

    value: int = 0


class SeededDropout(nn.Module):
    """Leaves out a share of its inputs, by the seed and the layer alone.

    It neither reads nor moves torch's global random state, which other threads draw from. Called
    again in the same pass, as when activations are recomputed for the backward pass, it leaves out
    the same.
    """

    def __init__(self, share: float, layer: str, seed: DropoutSeed):
        """
        Args:
            share: from 0 to 1, without 1.
            layer: its name; each layer draws for itself.
        """
        super().__init__()
        self.share, self.layer, self.seed = share, layer, seed

    def forward(self, input: Tensor) -> Tensor:
        """Drops inputs of any shape while training, and scales the others by 1 / (1 - share)."""
        if not self.training:
            return input
        result: Tensor = input * self._kept(input) / (1 - self.share)
        return result

    @torch.compiler.disable  # type: ignore[untyped-decorator]
    def _kept(self, like: Tensor) -> Tensor:
        """True where an input stays, in the shape and on the device of `like`."""
        generator = torch.Generator(like.device)
        generator.manual_seed(int(sha256_json([self.seed.value, self.layer])[:15], 16))
        drawn = torch.rand(like.shape, generator=generator, device=like.device)
        return drawn >= self.share
