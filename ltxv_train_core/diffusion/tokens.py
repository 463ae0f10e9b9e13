"""Latents as the transformer's tokens, and the position of each.

Shapes: B batch, f h w latent frames, rows, columns, N = f*h*w tokens in the order frame, row,
column.
"""

import torch
from torch import Tensor

from ..geometry import SPATIAL_COMPRESSION, TEMPORAL_COMPRESSION, LatentSize


def to_tokens(latents: Tensor) -> Tensor:
    """[B, C, f, h, w] -> [B, N, C]."""
    return latents.flatten(2).transpose(1, 2)


def to_latents(tokens: Tensor, size: LatentSize) -> Tensor:
    """[B, N, C] -> [B, C, f, h, w]."""
    return tokens.transpose(1, 2).unflatten(2, (size.frames, size.height, size.width))


def latent_size(latents: Tensor) -> LatentSize:
    """The size of latents [B, C, f, h, w]."""
    return LatentSize(*latents.shape[2:])


def positions(size: LatentSize, fps: Tensor, causal: bool) -> Tensor:
    """Positions [B, 3, N] of tokens: seconds, pixel row, pixel column of their corner.

    Latent frame f begins at pixel frame 8f; with causal positions at max(0, 8f - 7), since the
    first latent frame holds a single pixel frame.

    Args:
        fps: [B] frames per second of each sample.
        causal: whether the model's sampler counts this way.
    """
    frames = torch.arange(size.frames, device=fps.device) * TEMPORAL_COMPRESSION
    if causal:
        frames = (frames + 1 - TEMPORAL_COMPRESSION).clamp(min=0)
    rows = torch.arange(size.height, device=fps.device) * SPATIAL_COMPRESSION
    columns = torch.arange(size.width, device=fps.device) * SPATIAL_COMPRESSION
    grid = torch.stack(torch.meshgrid(frames, rows, columns, indexing="ij")).flatten(1).float()
    grid = grid.expand(len(fps), -1, -1).clone()
    grid[:, 0] *= (1.0 / fps)[:, None]
    return grid


def reference_positions(size: LatentSize, fps: Tensor) -> Tensor:
    """Positions [B, 3, N] of a reference video that starts at frame 0.

    The sampler's guides at frame 0 are causal whatever the model says of its own frames.
    """
    return positions(size, fps, causal=True)
