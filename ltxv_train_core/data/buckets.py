"""Which size a clip is brought to."""

from math import log

from ..errors import DataError
from ..geometry import VideoSize
from ..media.video import MediaInfo


def choose_bucket(buckets: tuple[VideoSize, ...], *media: MediaInfo) -> VideoSize:
    """Picks the bucket in which a clip, or a pair, loses the least.

    Of the buckets that every file fills (enough frames, no upscaling): the most frames first, then
    the aspect ratio closest to that of the first file, then the most pixels.

    Raises:
        DataError: none is filled; the message says what is missing and what to change.
    """
    long_enough = [b for b in buckets if all(m.frames >= b.frames for m in media)]
    if not long_enough:
        shortest = min(media, key=lambda m: m.frames)
        needed = min(b.frames for b in buckets)
        raise DataError(
            f"too short: {_describe(shortest)}, and the shortest bucket needs {needed} frames; "
            "use a longer clip or add a bucket with fewer frames"
        )
    filled = [
        b for b in long_enough if all(m.width >= b.width and m.height >= b.height for m in media)
    ]
    if not filled:
        smallest = min(media, key=lambda m: m.width * m.height)
        raise DataError(
            f"too small: {_describe(smallest)}, and would be enlarged for "
            f"{' and '.join(map(str, long_enough))}; use a larger clip or add a smaller bucket"
        )
    first = media[0]

    def loss(bucket: VideoSize) -> tuple[float, ...]:
        stretch = abs(log(bucket.width / bucket.height) - log(first.width / first.height))
        return (-bucket.frames, round(stretch, 6), -bucket.width * bucket.height)

    return min(filled, key=loss)


def _describe(media: MediaInfo) -> str:
    if media.is_image:
        return f"an image of {media.width}x{media.height}"
    return f"{media.width}x{media.height} with {media.frames} frames"
