"""Samples noise levels for training."""

import torch
from torch import Tensor

from ..config import FlowMatchingConfig
from ..families.base import Stream
from .draws import SampleDraws

_LOW, _HIGH = -2.5758, 3.0902
"""Of the normal distribution: a half per cent of it lies below, a tenth of a per cent above."""
# Below it the input holds no noise that could be told: LTX-2's trainer reflects levels here.
_SMALLEST = 1e-3


def draw_noise_levels(
    config: FlowMatchingConfig,
    tokens: int,
    stream: Stream,
    draws: SampleDraws,
) -> Tensor:
    """Draws noise levels [B] in (0, 1), float32 on the CPU.

    shifted_logit_normal: sigmoid(z * std + shift) with z ~ N(0, 1). Models that are trained so take it
    stretched: what lies between its quantiles 0.005 and 0.999 becomes 0 to 1, and what falls below is
    reflected (Lightricks/LTX-2, ltx-trainer).

    Args:
        tokens: of a sample of the stream.
        stream: decides what the configuration leaves open.
    """
    params = config.timestep_sampling_params
    uniform = draws.uniform()
    if config.timestep_sampling_mode == "uniform":
        low, high = params.get("min", 0.0), params.get("max", 1.0)
        return low + uniform * (high - low)
    limit = params.get("shift_limit", stream.shift_limit)
    shift, std = params.get("shift", min(stream.shift(tokens), limit)), params.get("std", 1.0)
    levels = torch.sigmoid(draws.normal() * std + shift)
    if stream.is_stretched:
        low, high = torch.sigmoid(torch.tensor([_LOW, _HIGH]) * std + shift)
        levels = (levels - low) / (high - low)
        levels = torch.where(levels < _SMALLEST, 2 * _SMALLEST - levels, levels).clamp(max=1.0)
        uniform = _SMALLEST + (1 - _SMALLEST) * uniform
    share = params.get("uniform_share", stream.uniform_share)
    if share > 0:
        chosen = draws.uniform() < share
        levels = torch.where(chosen, uniform, levels)
    return levels
