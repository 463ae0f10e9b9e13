"""Which size a clip is brought to."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from ..errors import ConfigurationError, DataError
from ..geometry import Grid, LatentSize, VideoSize, parse_buckets
from ..media.info import MediaInfo

AUTOMATIC = "auto:"
LARGEST_ASPECT_RATIO = 3.0
LARGEST_BUDGET_PX = 4096 * 4096
SMALLEST_SHARE_OF_BUDGET = 4
_NAMED = 2
"""Buckets in a message."""


class NoBucketError(DataError):
    """A clip is too short or too small for every bucket."""


@dataclass(frozen=True)
class BucketSet:
    """Sizes to choose among; shares of cropped area count in steps of `crop_step`."""

    sizes: tuple[VideoSize, ...]
    crop_step: float = 0.01


def read_buckets(text: str, grid: Grid) -> tuple[BucketSet, ...]:
    """Reads the option `resolution_buckets`: sizes, or the budget of an automatic choice.

    Returns:
        sets of buckets; a clip goes to the first set that has one for it.

    Raises:
        ConfigurationError: a size is off the grid, too large, or can't be read.
    """
    sizes = named_sizes(text)
    for size in sizes:
        grid.require(size)
    return automatic_buckets(sizes[0], grid) if _is_automatic(text) else (BucketSet(sizes),)


def named_sizes(text: str) -> tuple[VideoSize, ...]:
    """The sizes that the option names: buckets, or a budget. Raises as `read_buckets` does, whatever the grid."""
    if not _is_automatic(text):
        return parse_buckets(text)
    budget = VideoSize.parse(text.strip()[len(AUTOMATIC) :])
    if budget.width * budget.height > LARGEST_BUDGET_PX:
        raise ConfigurationError(
            [f"{AUTOMATIC}{budget}: a budget has at most {LARGEST_BUDGET_PX:,} pixels (4096x4096)"]
        )
    return (budget,)


def _is_automatic(text: str) -> bool:
    return text.strip().lower().startswith(AUTOMATIC)


def automatic_buckets(budget: VideoSize, grid: Grid) -> tuple[BucketSet, BucketSet]:
    """Sizes of every shape within a budget of pixels and frames.

    The first set uses the whole budget: for every width the greatest height. The second is for
    clips that are too small for that: every size of at least a quarter of the budget. In both,
    neither side is more than three times the other, and each shape comes with the budget's
    frames, half of them, a quarter and so on, as the grid allows, and with 1 for images. Cropped area
    counts in steps of 5 %, so that a better fitting shape costs no great part of the pixels.
    """
    pixels = budget.width * budget.height
    lengths, side = _lengths(budget.frames, grid), grid.spatial
    shapes = [
        (width, height)
        for width in range(side, pixels // side + 1, side)
        for height in range(side, pixels // width + 1, side)
        if max(width / height, height / width) <= LARGEST_ASPECT_RATIO
        and width * height * SMALLEST_SHARE_OF_BUDGET >= pixels
    ]
    whole = [(w, h) for w, h in shapes if w * (h + side) > pixels]
    return (_bucket_set(whole, lengths), _bucket_set(shapes, lengths))


def choose_bucket(
    sets: tuple[BucketSet, ...],
    *media: MediaInfo,
    fps: float | None = None,
    allow_upscaling: bool = False,
) -> VideoSize:
    """Picks the bucket in which a clip, or a pair, loses the least.

    Of the buckets that every file fills (enough frames, no upscaling): the one that crops the
    smallest share of the first file's area, to the step of its set; then the one with the most frames; then
    the largest. A bucket of one frame is for images: a video goes there only if no other is filled.

    Args:
        fps: the rate that videos are resampled to.
        allow_upscaling: where no bucket is filled, take the one that enlarges least.

    Raises:
        NoBucketError: none is filled; the message says what is missing and what to change.
    """
    problems = []
    for buckets in sets:
        try:
            return _choose(buckets, media, fps, False)
        except NoBucketError as error:
            problems.append(error)
    if allow_upscaling:
        sizes = tuple(size for buckets in sets for size in buckets.sizes)
        return _choose(BucketSet(sizes, sets[0].crop_step), media, fps, True)
    raise problems[-1]


def choose_length(
    sets: tuple[BucketSet, ...], media: MediaInfo, grid: Grid, fps: float | None = None
) -> VideoSize:
    """The size that stands for a sound alone: of the buckets' lengths the longest that it fills, and the smallest
    picture that there is, which says nothing.

    Raises:
        NoBucketError: it is too short for all of them, or they are all of images.
    """
    lengths = {size.frames for buckets in sets for size in buckets.sizes} - {1}
    if not lengths:
        raise NoBucketError(
            "a sound fills no bucket of 1 frame, and there are no others; add one with more frames"
        )
    filled = [length for length in lengths if length <= media.frames_at(fps)]
    if not filled:
        rate = fps or media.fps
        raise NoBucketError(
            f"too short: a sound of {media.frames / media.fps:.2f} seconds, and the shortest bucket needs "
            f"at least {min(lengths) / rate:.2f} seconds ({rate:g} frames per second); use a longer sound or add a bucket "
            "with fewer frames"
        )
    return VideoSize(grid.spatial, grid.spatial, max(filled))


def filled_size(
    bucket: VideoSize, media: Sequence[MediaInfo], grid: Grid, fps: float | None = None
) -> VideoSize | None:
    """A bucket, as much smaller as needed for all files to fill it; None where the grid has no such size."""
    width = min([bucket.width, *(m.width for m in media if not m.is_sound)]) // grid.spatial
    height = min([bucket.height, *(m.height for m in media if not m.is_sound)]) // grid.spatial
    frames = (min([bucket.frames, *(m.frames_at(fps) for m in media)]) - 1) // grid.temporal
    if not width or not height or (not frames and not all(m.is_image for m in media)):
        return None
    return grid.pixels(LatentSize(frames + 1, height, width))


def _choose(
    buckets: BucketSet, media: tuple[MediaInfo, ...], fps: float | None, allow_upscaling: bool
) -> VideoSize:
    long_enough = [b for b in buckets.sizes if all(m.frames_at(fps) >= b.frames for m in media)]
    if not long_enough:
        shortest = min(media, key=lambda m: m.frames_at(fps))
        needed = min(b.frames for b in buckets.sizes)
        raise NoBucketError(
            f"too short: {_describe(shortest, fps)}, and the shortest bucket needs {needed} "
            "frames; use a longer clip or add a bucket with fewer frames"
        )
    filled = [b for b in long_enough if allow_upscaling or _enlargement(b, media) <= 1]
    if not filled:
        smallest = min(media, key=lambda m: m.width * m.height)
        raise NoBucketError(
            f"too small: {_describe(smallest, fps)}, and would be enlarged for "
            f"{_nearest(long_enough, smallest)}; use a larger clip, add a smaller bucket, or allow upscaling"
        )

    def loss(bucket: VideoSize) -> tuple[float, ...]:
        return (
            bucket.frames == 1 and not media[0].is_image,
            round(max(1.0, _enlargement(bucket, media)), 2),
            round(_cropped_share(bucket, media[0]) / buckets.crop_step),
            -bucket.frames,
            -bucket.width * bucket.height,
        )

    return min(filled, key=loss)


def _enlargement(bucket: VideoSize, media: tuple[MediaInfo, ...]) -> float:
    """The factor by which the smallest file is scaled to cover a bucket."""
    return max(max(bucket.width / m.width, bucket.height / m.height) for m in media)


def _cropped_share(bucket: VideoSize, media: MediaInfo) -> float:
    shapes = (bucket.width / bucket.height, media.width / media.height)
    return 1 - min(shapes) / max(shapes)


def _lengths(frames: int, grid: Grid) -> list[int]:
    lengths = []
    while frames > 1:
        lengths.append(frames)
        frames = frames // (2 * grid.temporal) * grid.temporal + 1
    return [*lengths, 1]


def _bucket_set(shapes: list[tuple[int, int]], lengths: list[int]) -> BucketSet:
    sizes = tuple(VideoSize(width, height, n) for width, height in shapes for n in lengths)
    return BucketSet(sizes, crop_step=0.05)


def _describe(media: MediaInfo, fps: float | None) -> str:
    if media.is_image:
        return f"an image of {media.width}x{media.height}"
    at = "" if fps is None else f" at {fps:g} frames per second"
    return f"{media.width}x{media.height} with {media.frames_at(fps)} frames{at}"


def _nearest(buckets: list[VideoSize], media: MediaInfo) -> str:
    """The two shapes that are nearest to a clip's width and height, each with its most frames."""

    def distance(size: VideoSize) -> tuple[float, int]:
        wide, high = size.width / media.width, size.height / media.height
        return abs(math.log(wide)) + abs(math.log(high)), -size.frames

    shapes: dict[tuple[int, int], VideoSize] = {}
    for size in sorted(buckets, key=distance):
        shapes.setdefault((size.width, size.height), size)
    shown = " and ".join(map(str, [*shapes.values()][:_NAMED]))
    return f"{shown}, the nearest of {len(buckets)} buckets" if len(shapes) > _NAMED else shown
