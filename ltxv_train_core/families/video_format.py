"""What models of LTX-Video take for a video. No torch."""

from collections.abc import Sequence
from dataclasses import dataclass

from ..geometry import Grid, LatentSize, ReferenceScale, VideoSize
from .names import MASK, REFERENCE, VAE

VIDEO_CHANNELS = 128


@dataclass(frozen=True)
class VideoFormat:
    """Latents [128, f, h, w], a token for each of f*h*w.

    Attributes:
        scales_references: whether references may be smaller than their clips.
    """

    grid: Grid
    channels: int = VIDEO_CHANNELS
    encoder: str = VAE
    roles: frozenset[str] = frozenset({REFERENCE, MASK})
    sound_rate: int | None = None
    scales_references: bool = False

    def latent_shape(self, size: VideoSize, fps: float) -> LatentSize:
        return self.grid.latent(size)

    def tokens(self, size: VideoSize, fps: float) -> int:
        return self.grid.latent(size).tokens

    def takes_reference(self, shape: Sequence[int], size: VideoSize, fps: float) -> bool:
        scale = ReferenceScale.between(self.grid.latent(size), shape)
        return scale is not None and (self.scales_references or scale == (1, 1))

    def seconds(self, latent: int, fps: float) -> tuple[float, float]:
        first, stride = latent * self.grid.temporal + 1 - self.grid.temporal, self.grid.temporal
        return max(0, first) / fps, (first + stride) / fps
