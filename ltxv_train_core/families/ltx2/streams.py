"""Video and sound as LTX-2.x denoises them.

Positions are the middle of what a token covers: seconds, and for the video pixel rows and columns.

Shapes: B batch, C channels, f h w latent frames, rows, columns, T latents of sound, N tokens.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ...geometry import SAME_SIZE, ReferenceScale
from ..latent_pixels import LatentPixels
from ..noise import linear_shift
from ..video_format import VIDEO_CHANNELS
from .formats import (
    AUDIO_CHANNELS,
    GRID,
    HOP_SAMPLES,
    MEL_RATE,
    MELS_PER_LATENT,
)


@dataclass(frozen=True)
class VideoStream(LatentPixels):
    """One token for each latent pixel."""

    channels = VIDEO_CHANNELS
    shift_limit = float("inf")
    uniform_share = 0.1
    is_stretched = True
    loss_weight = 1.0
    noises_references = True

    def positions(self, shape: Sequence[int], fps: Tensor) -> Tensor:
        """Positions [B, 3, N] of tokens: seconds, pixel row, pixel column of their middle.

        Latent frame i covers the pixel frames from max(0, 8i - 7) to 8i + 1.

        Args:
            fps: [B] frames per second of each sample.
        """
        return self._positions(shape, fps, SAME_SIZE)

    def reference_positions(
        self, shape: Sequence[int], target: Sequence[int], fps: Tensor
    ) -> Tensor:
        """Positions [B, 3, N] of a reference video that starts at frame 0.

        Where it is smaller than the target, its tokens cover as much more of the target's rows, columns and
        frames (ComfyUI's `reference_downscale_factor`; in time as ltx-trainer).
        """
        scale = ReferenceScale.between(target, shape)
        assert scale is not None, f"a reference {list(shape)} of a video {list(target)}"
        return self._positions(shape, fps, scale)

    def _positions(self, shape: Sequence[int], fps: Tensor, scale: ReferenceScale) -> Tensor:
        count, height, width = shape
        frames = _middles(count, GRID.temporal, fps.device, scale.temporal)
        rows, columns = (
            (torch.arange(side, device=fps.device) + 0.5) * (GRID.spatial * scale.spatial)
            for side in (height, width)
        )
        grid = torch.stack(torch.meshgrid(frames, rows, columns, indexing="ij")).flatten(1)
        grid = grid.expand(len(fps), -1, -1).clone()
        grid[:, 0] /= fps[:, None]
        return grid


@dataclass(frozen=True)
class AudioStream:
    """One token for each latent in time: its channels one after the other, each with all its bins."""

    channels = AUDIO_CHANNELS
    shift_limit = float("inf")
    uniform_share = 0.1
    is_stretched = True
    loss_weight = 1.0
    noises_references = False

    def to_tokens(self, latents: Tensor) -> Tensor:
        """[B, C, T, 16] -> [B, T, C * 16]."""
        return latents.transpose(1, 2).flatten(2)

    def to_latents(self, tokens: Tensor, shape: Sequence[int]) -> Tensor:
        """[B, T, C * 16] -> [B, C, T, 16]."""
        result: Tensor = tokens.unflatten(2, (-1, shape[-1])).transpose(1, 2)
        return result

    def positions(self, shape: Sequence[int], fps: Tensor) -> Tensor:
        """Positions [B, 1, T] of tokens: seconds of their middle, whatever the frames of the video.

        Latent i covers the mel frames from max(0, 4i - 3) to 4i + 1, of 10 ms each.
        """
        seconds = _middles(shape[0], MELS_PER_LATENT, fps.device) * (HOP_SAMPLES / MEL_RATE)
        return seconds.expand(len(fps), 1, -1).clone()

    def reference_positions(
        self, shape: Sequence[int], target: Sequence[int], fps: Tensor
    ) -> Tensor:
        """Positions [B, 1, T] of a reference, which ends one latent before the sound begins."""
        latent = HOP_SAMPLES * MELS_PER_LATENT / MEL_RATE
        end = (shape[0] * MELS_PER_LATENT - MELS_PER_LATENT + 1) * HOP_SAMPLES / MEL_RATE
        return self.positions(shape, fps) - (end + latent)

    def shift(self, tokens: int) -> float:
        return linear_shift(tokens)


def _middles(count: int, stride: int, device: torch.device, every: int = 1) -> Tensor:
    """The middles of `count` stretches of `stride`, of which the first has only its last unit.

    Args:
        every: how many units lie between two of those that are counted.
    """
    edges = torch.arange(count + 1, device=device, dtype=torch.float32) * stride
    edges = ((edges + 1 - stride) * every + 1 - every).clamp(min=0)
    return (edges[:-1] + edges[1:]) / 2
