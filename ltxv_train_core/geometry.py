"""Sizes of videos in pixels and in latents. No torch: the configuration stands on this."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import NamedTuple

from .errors import ConfigurationError, shown

# Beyond any model's positions; larger ones are typing errors that would take all memory.
LARGEST_SIDE_PX = 8192
MOST_PIXELS = 2**29
"""Of all frames together: 1920x1088 with 257 frames, for example."""
MOST_BUCKETS = 256


_SIZE = re.compile(r"([0-9]{1,10})\s{0,9}[x×]\s{0,9}([0-9]{1,10})\s{0,9}[x×]\s{0,9}([0-9]{1,10})")


class LatentSize(NamedTuple):
    """Latent frames x rows x columns."""

    frames: int
    height: int
    width: int

    @property
    def tokens(self) -> int:
        """With one token for each."""
        return prod(self)


@dataclass(frozen=True, order=True)
class VideoSize:
    """Width and height in pixels, and frames; an image has 1.

    Which sizes a model takes, its family's `Grid` says.

    Raises:
        ConfigurationError: for a size that no video has, or one that is too large.
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
        if min(self.width, self.height, self.frames) < 1:
            raise ConfigurationError(
                [f"video size {self}: width, height and frames must be at least 1"]
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


@dataclass(frozen=True)
class Grid:
    """The sizes that a model family takes, and those of their latents.

    Attributes:
        spatial: pixels of a side for each latent pixel.
        temporal: frames for each latent frame after the first, which holds one frame.
    """

    spatial: int
    temporal: int

    def nearest(self, width: int, height: int, frames: int) -> VideoSize:
        """The size on the grid that is nearest to one in pixels and frames."""
        return VideoSize(
            max(1, round(width / self.spatial)) * self.spatial,
            max(1, round(height / self.spatial)) * self.spatial,
            max(0, round((frames - 1) / self.temporal)) * self.temporal + 1,
        )

    def problem(self, size: VideoSize) -> str | None:
        """Why a size is not on the grid; None where it is."""
        nearest = self.nearest(size.width, size.height, size.frames)
        if size == nearest:
            return None
        return (
            f"video size {size}: width and height must be multiples of {self.spatial} and frames "
            f"{self.temporal}n + 1; the nearest is {nearest}"
        )

    def require(self, size: VideoSize) -> None:
        """Raises `ConfigurationError` for a size off the grid, naming the nearest one on it."""
        if problem := self.problem(size):
            raise ConfigurationError([problem])

    def latent(self, size: VideoSize) -> LatentSize:
        """The size of a video's latents."""
        return LatentSize(
            (size.frames - 1) // self.temporal + 1,
            size.height // self.spatial,
            size.width // self.spatial,
        )

    def pixels(self, latent: LatentSize) -> VideoSize:
        """The size of the video that latents stand for."""
        frames = (latent.frames - 1) * self.temporal + 1
        return VideoSize(latent.width * self.spatial, latent.height * self.spatial, frames)


MOST_REFERENCE_SCALE = 16


class ReferenceScale(NamedTuple):
    """How many times smaller a reference is than the video that it goes with.

    Attributes:
        spatial: of width and height.
        temporal: it has every so-many-th frame.
    """

    spatial: int = 1
    temporal: int = 1

    @classmethod
    def between(cls, target: Sequence[int], reference: Sequence[int]) -> "ReferenceScale | None":
        """That of two sizes in latent frames, rows and columns; None where none takes one to the other."""
        frames, height, _ = target
        spatial = max(1, height // max(1, reference[1]))
        temporal = max(1, (frames - 1) // max(1, reference[0] - 1))
        found = cls(spatial, temporal)
        return found if found.latent(target) == tuple(reference) else None

    def latent(self, target: Sequence[int]) -> tuple[int, int, int] | None:
        """Latent frames, rows and columns of the reference; None where the target's can't be divided so."""
        frames, height, width = target
        if height % self.spatial or width % self.spatial or (frames - 1) % self.temporal:
            return None
        return (frames - 1) // self.temporal + 1, height // self.spatial, width // self.spatial


SAME_SIZE = ReferenceScale()


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
