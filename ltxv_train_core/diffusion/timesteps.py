"""Samples noise levels for training."""

import torch
from torch import Tensor

from ..config import FlowMatchingConfig


def draw_noise_levels(
    config: FlowMatchingConfig,
    count: int,
    shift: float,
    shift_limit: float,
    generator: torch.Generator,
) -> Tensor:
    """Draws noise levels [count] in (0, 1), float32 on the CPU.

    shifted_logit_normal: sigmoid(z * std + shift) with z ~ N(0, 1).

    Args:
        shift, shift_limit: the stream's, where the configuration sets none.
    """
    params = config.timestep_sampling_params
    uniform = torch.rand(count, generator=generator)
    if config.timestep_sampling_mode == "uniform":
        low, high = params.get("min", 0.0), params.get("max", 1.0)
        return low + uniform * (high - low)
    shift = params.get("shift", min(shift, params.get("shift_limit", shift_limit)))
    levels = torch.sigmoid(torch.randn(count, generator=generator) * params.get("std", 1.0) + shift)
    share = params.get("uniform_share", 0.0)
    if share > 0:
        chosen = torch.rand(count, generator=generator) < share
        levels = torch.where(chosen, uniform, levels)
    return levels
