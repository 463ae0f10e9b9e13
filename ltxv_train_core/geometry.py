"""Sizes of videos in pixels and in latents. No torch: the configuration stands on this."""

import re
from dataclasses import dataclass

from .errors import ConfigurationError, shown

SPATIAL_COMPRESSION = 32
TEMPORAL_COMPRESSION = 8
LATENT_CHANNELS = 128
LARGEST_SIDE_PX = 8192
MOST_PIXELS = 2**29
"""Of all frames together: 1920x1088 with 257 frames, for example."""
MOST_BUCKETS = 256


_SIZE = re.compile(r"([0-9]{1,10})\s{0,9}[x×]\s{0,9}([0-9]{1,10})\s{0,9}[x×]\s{0,9}([0-9]{1,10})")


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
        ConfigurationError: for a size off that grid, naming the nearest one on it, and for one that
            is too large.
    """

    width: int
    height: int
    frames: int

    def __post_init__(self) -> None:
        side = max(self.width, self.height)
        if side > LARGEST_SIDE_PX or self.width * self.height * self.frames > MOST_PIXELS:
            given = "x".join(map(shown, (self.width, self.height, self.frames)))
            raise ConfigurationError(
                [
                    f"video size {given}: neither side can have more than "
                    f"{LARGEST_SIDE_PX} pixels, nor all frames together more than {MOST_PIXELS:,}"
                ]
            )
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
        match = _SIZE.fullmatch(text.strip())
        if not match:
            raise ConfigurationError(
                [
                    f"video size {shown(text)}: expected WIDTHxHEIGHTxFRAMES, for example "
                    '"768x448x89"'
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
    parts = [part for part in text.split(";") if part.strip()]
    if not 1 <= len(parts) <= MOST_BUCKETS:
        raise ConfigurationError(
            [
                f"resolution buckets {shown(text)}: expected 1 to {MOST_BUCKETS}, for example "
                '"768x448x89"'
            ]
        )
    return tuple(VideoSize.parse(part) for part in parts)
