"""What LTX-2.x takes for a sound, and its grid of videos. No torch."""

from collections.abc import Sequence
from dataclasses import dataclass

from ...geometry import VideoSize
from ..grids import GRIDS
from ..names import AUDIO_VAE, MASK, REFERENCE

NAME = "LTX-2"
GRID = GRIDS[NAME]

AUDIO_CHANNELS, AUDIO_BINS = 8, 16
"""A latent of sound has 8 channels of 16 frequency bins: a token of 128 numbers."""
TEXT_TOKENS = 1024
"""Of a prompt that isn't longer, registers included: ComfyUI's."""

MEL_RATE, HOP_SAMPLES, MELS_PER_LATENT = 16000, 160, 4
"""25 latents a second."""


@dataclass(frozen=True)
class AudioFormat:
    """Latents [8, T, 16], a token for each of T: 25 a second."""

    channels: int = AUDIO_CHANNELS
    encoder: str = AUDIO_VAE
    roles: frozenset[str] = frozenset({REFERENCE, MASK})
    sound_rate: int | None = MEL_RATE

    def latent_shape(self, size: VideoSize, fps: float) -> tuple[int, int]:
        return self.tokens(size, fps), AUDIO_BINS

    def tokens(self, size: VideoSize, fps: float) -> int:
        return latent_count(round(size.frames / fps * MEL_RATE))

    def takes_reference(self, shape: Sequence[int], size: VideoSize, fps: float) -> bool:
        return tuple(shape) == self.latent_shape(size, fps)

    def seconds(self, latent: int, fps: float) -> tuple[float, float]:
        first = latent * MELS_PER_LATENT + 1 - MELS_PER_LATENT
        mel = HOP_SAMPLES / MEL_RATE
        return max(0, first) * mel, (first + MELS_PER_LATENT) * mel


def latent_count(samples: int) -> int:
    """How many latents stand for so many samples at 16 kHz: the nearest number, at least one."""
    return max(1, round(samples / (HOP_SAMPLES * MELS_PER_LATENT)))
