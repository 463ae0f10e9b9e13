"""Dropout of a LoRA's inputs, from random numbers of its own."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

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
        self._draw = _draw_outside_graphs()

    def forward(self, input: Tensor) -> Tensor:
        """Drops inputs of any shape while training, and scales the others by 1 / (1 - share)."""
        if not self.training:
            return input
        kept = self._draw(input, sha256_json([self.seed.value, self.layer])) >= self.share
        result: Tensor = input * kept / (1 - self.share)
        return result


@cache
def _draw_outside_graphs() -> Callable[[Tensor, str], Tensor]:
    # No decorator: it imports torch's compiler, which a run without dropout can spare.
    disabled: Callable[[Tensor, str], Tensor] = torch.compiler.disable(_draw)
    return disabled


def _draw(like: Tensor, key: str) -> Tensor:
    """Uniform numbers from 0 to 1 in the shape and on the device of `like`, by the key alone."""
    generator = torch.Generator(like.device)
    generator.manual_seed(int(key[:15], 16))
    return torch.rand(like.shape, generator=generator, device=like.device)
