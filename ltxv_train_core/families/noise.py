"""How noise levels depend on the number of tokens in all models of LTX-Video."""

import math

import torch
from torch import Tensor

# The schedule of LTX-Video 0.9.x: shift linear in tokens between these two, last level .1.
_SHIFT_AT_1024, SHIFT_AT_4096 = 0.95, 2.05
_TERMINAL = 0.1


def linear_shift(tokens: int) -> float:
    """0.95 at 1024 tokens, 2.05 at 4096, linear, also beyond."""
    slope = (SHIFT_AT_4096 - _SHIFT_AT_1024) / (4096 - 1024)
    return _SHIFT_AT_1024 + (tokens - 1024) * slope


def schedule(steps: int, shift: float) -> Tensor:
    """Noise levels [steps + 1] from 1 to 0 of a sampler, shifted towards noise.

    The last level before 0 is stretched to 0.1: the usual schedule of LTX-Video.
    """
    levels = torch.linspace(1.0, 0.0, steps + 1)[:-1]
    ratio = math.exp(shift)
    levels = ratio / (ratio + 1 / levels - 1)
    if steps > 1:
        levels = 1 - (1 - levels) * (1 - _TERMINAL) / (1 - levels[-1])
    return torch.cat([levels, torch.zeros(1)])
