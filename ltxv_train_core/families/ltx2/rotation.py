"""Rotations of LTX-2.x's queries and keys by the positions of tokens.

Shapes: B batch, P axes of positions, M tokens, D width of all heads together.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor


@dataclass(frozen=True)
class Rotation:
    """What tokens are turned by.

    Attributes:
        cos, sin: [B, M, D] float32.
        halves: of how many heads the first half is turned with the second; None: neighbours are.
    """

    cos: Tensor
    sin: Tensor
    halves: int | None

    def first(self, count: int) -> "Rotation":
        """Of the first tokens alone."""
        return Rotation(self.cos[:, :count], self.sin[:, :count], self.halves)


def rotation(
    positions: Tensor,
    limits: Sequence[float],
    width: int,
    heads: int,
    theta: float,
    *,
    is_split: bool,
    is_double: bool,
) -> Rotation:
    """The rotation of tokens at positions [B, P, M].

    Args:
        limits: [P] the positions that count as 1.
        width: D.
        theta: the ratio of the highest frequency to the lowest.
        is_split: whether halves of a head are turned with each other, else neighbours.
        is_double: whether frequencies are computed in float64.
    """
    axes = len(limits)
    frequencies = _frequencies(width // (2 * axes), theta, is_double, positions.device)
    shares = torch.stack([positions[:, axis] / limits[axis] for axis in range(axes)], dim=-1)
    # Per token: all axes of the lowest frequency, then of the next one.
    angles = ((shares[..., None] * 2 - 1) * frequencies).transpose(-1, -2).flatten(2)
    still = width // 2 - angles.shape[-1]
    angles = torch.nn.functional.pad(angles, (still, 0))
    cos, sin = angles.cos(), angles.sin()
    if not is_split:
        spread = torch.Tensor.repeat_interleave
        return Rotation(spread(cos, 2, dim=-1), spread(sin, 2, dim=-1), None)
    cos, sin = (
        part.unflatten(-1, (heads, 1, -1)).expand(-1, -1, -1, 2, -1).flatten(2)
        for part in (cos, sin)
    )
    return Rotation(cos, sin, heads)


@lru_cache(maxsize=8)
def _frequencies(count: int, theta: float, is_double: bool, device: torch.device) -> Tensor:
    """Copied to a device once: a copy from pageable memory waits for it."""
    precision = torch.float64 if is_double else torch.float32  # on the CPU: Metal has no float64
    steps = torch.linspace(0.0, 1.0, count, dtype=precision)
    return (theta**steps * (math.pi / 2)).float().to(device)
