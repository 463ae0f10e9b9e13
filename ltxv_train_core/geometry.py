"""Sizes of videos in pixels and in latents. No torch: the configuration stands on this."""

import re
from dataclasses import dataclass

from .errors import ConfigurationError, shown

SPATIAL_COMPRESSION = 32
TEMPORAL_COMPRESSION = 8
LATENT_CHANNELS = 128


@dataclass(frozen=True, order=True)
class LatentSize:
    """Latent frames x rows x columns; one token each."""

    frames: int
    height: int
    width: int

    @property
    def tokens(self) -> int:
        return self.frames * self.height * self.width

    @property
    def tokens_per_frame(self) -> int:
        return self.height * self.width


@dataclass(frozen=True, order=True)
class VideoSize:
    """Width and height in pixels (multiples of 32) and frames (8n + 1; an image has 1).

    Raises:
        ConfigurationError: for a size off that grid, naming the nearest one on it.
    """

    width: int
    height: int
    frames: int

    def __post_init__(self) -> None:
        nearest = (
            max(1, round(self.width / SPATIAL_COMPRESSION)) * SPATIAL_COMPRESSION,
            max(1, round(self.height / SPATIAL_COMPRESSION)) * SPATIAL_COMPRESSION,
            max(0, round((self.frames - 1) / TEMPORAL_COMPRESSION)) * TEMPORAL_COMPRESSION + 1,
        )
        if (self.width, self.height, self.frames) != nearest:
            raise ConfigurationError(
                [
                    f"video size {self}: width and height must be multiples of "
                    f"{SPATIAL_COMPRESSION} and frames 8n + 1; the nearest is "
                    f"{'x'.join(map(str, nearest))}"
                ]
            )

    def __str__(self) -> str:
        return f"{self.width}x{self.height}x{self.frames}"

    @classmethod
    def parse(cls, text: str) -> "VideoSize":
        """Reads "WxHxF", for example "768x448x89"."""
        match = re.fullmatch(
            r"\s*([0-9]{1,6})\s*[x×]\s*([0-9]{1,6})\s*[x×]\s*([0-9]{1,6})\s*", text
        )
        if not match:
            raise ConfigurationError(
                [
                    f'video size {shown(text)}: expected WIDTHxHEIGHTxFRAMES, for example "768x448x89"'
                ]
            )
        width, height, frames = map(int, match.groups())
        return cls(width, height, frames)

    @property
    def latent(self) -> LatentSize:
        return LatentSize(
            (self.frames - 1) // TEMPORAL_COMPRESSION + 1,
            self.height // SPATIAL_COMPRESSION,
            self.width // SPATIAL_COMPRESSION,
        )


def parse_buckets(text: str) -> tuple[VideoSize, ...]:
    """Reads "WxHxF;WxHxF;...": the sizes that clips are brought to."""
    sizes = tuple(VideoSize.parse(part) for part in text.split(";") if part.strip())
    if not sizes:
        raise ConfigurationError(
            [f'resolution buckets {shown(text)}: expected at least one, for example "768x448x89"']
        )
    return sizes
