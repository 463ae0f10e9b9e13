"""What is known of a video or image, and which part of it is meant. Imports nothing that decodes."""

from dataclasses import dataclass
from math import floor

IMAGE_FPS = 25.0
ROUNDING = 1e-4
MOST_FRAMES = 1_000_000
SLOWEST_FPS, FASTEST_FPS = 0.001, 10_000.0


@dataclass(frozen=True)
class MediaInfo:
    """A video or image as it is shown: display rotation and pixel aspect ratio are applied.

    `fps` is the average rate of the stream, also where the rate varies; 25 for an image.
    """

    width: int
    height: int
    frames: int
    fps: float
    is_image: bool

    def frames_at(self, fps: float | None) -> int:
        """How many frames there are after resampling; an image has one at every rate."""
        if fps is None or self.is_image:
            return self.frames
        return max(1, floor(self.frames * fps / self.fps + ROUNDING))


@dataclass(frozen=True)
class Selection:
    """Which frames of a video are read, and which part of each picture.

    Attributes:
        start: the first frame, counted after resampling.
        fps: takes the frame that is shown every 1 / fps seconds; None takes all.
        x, y: where the cut-out lies in what a picture has too much: 0 left or top, 1 right or
            bottom.
    """

    start: int = 0
    fps: float | None = None
    x: float = 0.5
    y: float = 0.5


BEGINNING = Selection()


def is_plausible(frames: int, fps: float) -> bool:
    """Whether a video can have this length and this rate."""
    return frames <= MOST_FRAMES and SLOWEST_FPS <= fps <= FASTEST_FPS
