"""How noisy the samples of a training step are."""

import torch
from torch import Tensor

from ..config import FlowMatchingConfig

_SHIFT_AT_1024, _SHIFT_AT_4096 = 0.95, 2.05


def token_shift(tokens: int) -> float:
    """Shift of the noise levels for a number of tokens: 0.95 at 1024, 2.05 at 4096, linear."""
    return _SHIFT_AT_1024 + (tokens - 1024) * (_SHIFT_AT_4096 - _SHIFT_AT_1024) / (4096 - 1024)


def draw_noise_levels(
    config: FlowMatchingConfig, count: int, tokens: int, generator: torch.Generator
) -> Tensor:
    """Draws noise levels [count] in (0, 1) for samples of `tokens` tokens, float32 on the CPU.

    shifted_logit_normal: sigmoid(z * std + shift) with z ~ N(0, 1).
    """
    params = config.timestep_sampling_params
    uniform = torch.rand(count, generator=generator)
    if config.timestep_sampling_mode == "uniform":
        low, high = params.get("min", 0.0), params.get("max", 1.0)
        return low + uniform * (high - low)
    shift = params.get("shift", min(token_shift(tokens), params.get("shift_limit", _SHIFT_AT_4096)))
    levels = torch.sigmoid(torch.randn(count, generator=generator) * params.get("std", 1.0) + shift)
    share = params.get("uniform_share", 0.0)
    if share > 0:
        chosen = torch.rand(count, generator=generator) < share
        levels = torch.where(chosen, uniform, levels)
    return levels
