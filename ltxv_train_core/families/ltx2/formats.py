"""What LTX-2.x takes for a video and for a sound. No torch."""

from dataclasses import dataclass

from ...geometry import LatentSize, VideoSize
from ..grids import GRIDS
from ..names import AUDIO_VAE, MASK, REFERENCE, VAE

NAME = "LTX-2"
GRID = GRIDS[NAME]
VIDEO_CHANNELS = 128

AUDIO_CHANNELS, AUDIO_BINS = 8, 16
"""A latent of sound has 8 channels of 16 frequency bins: a token of 128 numbers."""
TEXT_TOKENS = 1024
"""Of a prompt that isn't longer, registers included: ComfyUI's."""

MEL_RATE, HOP_SAMPLES, MELS_PER_LATENT = 16000, 160, 4
"""25 latents a second."""


@dataclass(frozen=True)
class VideoFormat:
    """Latents [128, f, h, w], a token for each of f*h*w."""

    channels: int = VIDEO_CHANNELS
    encoder: str = VAE
    roles: frozenset[str] = frozenset({REFERENCE, MASK})
    sound_rate: int | None = None

    def latent_shape(self, size: VideoSize, fps: float) -> LatentSize:
        return GRID.latent(size)

    def tokens(self, size: VideoSize, fps: float) -> int:
        return GRID.latent(size).tokens


@dataclass(frozen=True)
class AudioFormat:
    """Latents [8, T, 16], a token for each of T: 25 a second."""

    channels: int = AUDIO_CHANNELS
    encoder: str = AUDIO_VAE
    roles: frozenset[str] = frozenset()
    sound_rate: int | None = MEL_RATE

    def latent_shape(self, size: VideoSize, fps: float) -> tuple[int, int]:
        return self.tokens(size, fps), AUDIO_BINS

    def tokens(self, size: VideoSize, fps: float) -> int:
        return latent_count(round(size.frames / fps * MEL_RATE))


def latent_count(samples: int) -> int:
    """How many latents stand for so many samples at 16 kHz: the nearest number, at least one."""
    return max(1, round(samples / (HOP_SAMPLES * MELS_PER_LATENT)))
