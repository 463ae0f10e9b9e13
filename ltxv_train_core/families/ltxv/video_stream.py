"""Video as LTX-Video 0.9.x denoises it.

Shapes: B batch, C channels, f h w latent frames, rows, columns, N = f*h*w tokens in the order frame, row,
column.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..latent_pixels import LatentPixels
from ..noise import SHIFT_AT_4096
from .video_format import GRID, LATENT_CHANNELS


@dataclass(frozen=True)
class VideoStream(LatentPixels):
    """One token for each latent pixel.

    Attributes:
        causal: whether the model's sampler counts the first latent frame as one pixel frame.
        causal_references: whether it does so for references.
    """

    causal: bool
    causal_references: bool = True
    shift_limit: float = SHIFT_AT_4096
    channels = LATENT_CHANNELS
    uniform_share = 0.0
    is_stretched = False
    loss_weight = 1.0
    noises_references = True

    def positions(self, shape: Sequence[int], fps: Tensor) -> Tensor:
        """Positions [B, 3, N] of tokens: seconds, pixel row, pixel column of their corner.

        Latent frame f begins at pixel frame 8f; with causal positions at max(0, 8f - 7), since the
        first latent frame holds a single pixel frame.

        Args:
            fps: [B] frames per second of each sample.
        """
        return _positions(shape, fps, self.causal)

    def reference_positions(
        self, shape: Sequence[int], target: Sequence[int], fps: Tensor
    ) -> Tensor:
        """Positions [B, 3, N] of a reference video that starts at frame 0; it has the target's size.

        The sampler's guides at frame 0 are causal whatever the model says of its own frames.
        """
        return _positions(shape, fps, self.causal_references)


def _positions(shape: Sequence[int], fps: Tensor, causal: bool) -> Tensor:
    count, height, width = shape
    frames = torch.arange(count, device=fps.device) * GRID.temporal
    if causal:
        frames = (frames + 1 - GRID.temporal).clamp(min=0)
    rows = torch.arange(height, device=fps.device) * GRID.spatial
    columns = torch.arange(width, device=fps.device) * GRID.spatial
    grid = torch.stack(torch.meshgrid(frames, rows, columns, indexing="ij")).flatten(1).float()
    grid = grid.expand(len(fps), -1, -1).clone()
    grid[:, 0] *= (1.0 / fps)[:, None]
    return grid
