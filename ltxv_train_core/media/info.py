"""What is known of a video or image, and which part of it is meant. Imports nothing that decodes."""

from dataclasses import dataclass
from math import floor

# ComfyUI's LTXV nodes give an image the same rate.
IMAGE_FPS = 25.0
# 3 s at 24000/1001 are 71.928 frames, yet n frames at their own rate must be n.
ROUNDING = 1e-4
# A file claims them in a few bytes.
MOST_FRAMES = 1_000_000
# Beyond these a rate is a damaged field.
SLOWEST_FPS, FASTEST_FPS = 0.001, 10_000.0


TRAITS = {
    "turned": "turned upright",
    "mirrored": "mirrored",
    "animated": "animated pictures, read as videos",
    "interlaced": "deinterlaced",
    "hlg": "tone-mapped from HLG",
    "pq": "tone-mapped from PQ",
    "alpha_beside": "with transparency beside the colours (VP8, VP9, palettes), laid over black",
    "hd_matrix": "of HD size without a stated matrix, read as BT.709",
    "bt709": "with HLG or PQ in the primaries of BT.709",
    "bt2020": "converted from the primaries of BT.2020",
    "display_p3": "converted from the primaries of Display P3",
    "dci_p3": "converted from the primaries of DCI-P3",
    "bt601_525": "converted from the primaries of BT.601 (525 lines)",
    "bt601_625": "converted from the primaries of BT.601 (625 lines)",
    "bt470m": "converted from the primaries of BT.470 (M)",
    "ebu3213": "converted from the primaries of EBU 3213",
    "cropped": "cropped as their container says",
    "unusable_profile": "with a colour profile that can't be used, which is ignored",
}
"""What is done to show a file right, as a summary says it."""
HDR = frozenset({"hlg", "pq"})
READ_ANOTHER_WAY = frozenset(TRAITS) - {"turned", "unusable_profile"}
"""Such files were not read so by the first versions: what was made of them then is made again."""


@dataclass(frozen=True)
class MediaInfo:
    """A video or image as it is shown: display matrix and pixel aspect ratio are applied.

    `fps` is the average rate of the stream, also where the rate varies; 25 for an image. `traits` are of
    `TRAITS`, in that order. A sound alone has no width and no height, and as many frames as would be shown
    with it at 25 per second.
    """

    width: int
    height: int
    frames: int
    fps: float
    is_image: bool
    traits: tuple[str, ...] = ()

    @property
    def is_sound(self) -> bool:
        """Whether it is a sound alone, without a picture."""
        return self.width == 0

    @property
    def suffix_is_of_an_image(self) -> bool:
        """Whether the file is named like an image: an image, or an animated one that is read as video."""
        return self.is_image or "animated" in self.traits

    @property
    def reading(self) -> tuple[str, ...]:
        """Goes into what names files that were made of this one; empty for most."""
        return tuple(trait for trait in self.traits if trait in READ_ANOTHER_WAY)

    @property
    def told(self) -> str:
        """What is done to show it right, in words; empty where little is."""
        return ", ".join(TRAITS[trait] for trait in self.traits if trait != "turned")

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
