"""What models of LTX-Video take for a video. No torch."""

from dataclasses import dataclass

from ..geometry import Grid, LatentSize, VideoSize
from .names import MASK, REFERENCE, VAE

VIDEO_CHANNELS = 128


@dataclass(frozen=True)
class VideoFormat:
    """Latents [128, f, h, w], a token for each of f*h*w."""

    grid: Grid
    channels: int = VIDEO_CHANNELS
    encoder: str = VAE
    roles: frozenset[str] = frozenset({REFERENCE, MASK})
    sound_rate: int | None = None

    def latent_shape(self, size: VideoSize, fps: float) -> LatentSize:
        return self.grid.latent(size)

    def tokens(self, size: VideoSize, fps: float) -> int:
        return self.grid.latent(size).tokens
