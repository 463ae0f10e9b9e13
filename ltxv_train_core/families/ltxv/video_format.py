"""What LTX-Video 0.9.x takes for a video. No torch."""

from dataclasses import dataclass

from ...geometry import LatentSize, VideoSize
from ..grids import GRIDS
from ..names import MASK, REFERENCE, VAE

NAME = "LTX-Video"
GRID = GRIDS[NAME]
LATENT_CHANNELS = 128


@dataclass(frozen=True)
class VideoFormat:
    """Latents [128, f, h, w], a token for each of f*h*w."""

    channels: int = LATENT_CHANNELS
    encoder: str = VAE
    roles: frozenset[str] = frozenset({REFERENCE, MASK})
    sound_rate: int | None = None

    def latent_shape(self, size: VideoSize, fps: float) -> LatentSize:
        return GRID.latent(size)

    def tokens(self, size: VideoSize, fps: float) -> int:
        return GRID.latent(size).tokens
