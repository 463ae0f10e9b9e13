"""Videos out of files; an image reads as a video of one frame. Frames are resized as they are decoded."""

from bisect import bisect_right
from collections import deque
from collections.abc import Generator
from contextlib import closing
from fractions import Fraction
from functools import partial
from itertools import islice
from pathlib import Path

import numpy as np
from av.video.reformatter import VideoReformatter

from ..errors import DataError
from ..geometry import VideoSize
from .alpha import has_transparent_palette
from .animated import is_still
from .container import open_video
from .decoding import decode, decode_first_frame, decode_from, frame_times
from .formats import is_image
from .images import pixels_of_image, probe_image, traits_of_image
from .info import (
    BEGINNING,
    FASTEST_FPS,
    HDR,
    IMAGE_FPS,
    MOST_FRAMES,
    TRAITS,
    MediaInfo,
    Selection,
    is_plausible,
)
from .orientation import AS_STORED, MIRRORED
from .readable import (
    DEFAULT_MEGAPIXELS,
    one_large_at_a_time,
    printable,
    readable,
    require_pixels,
)
from .showing import Decoded, cover, covering_size, display_size, is_grey, is_hd_without_matrix

# Containers round 23.976 to 24; a larger difference means that the stated rate is wrong.
FPS_TOLERANCE = 0.02
TIMESTAMP_ROUNDING_SECONDS = 0.001  # Matroska and WebM write whole milliseconds


def probe(path: Path, megapixels: float = DEFAULT_MEGAPIXELS) -> MediaInfo:
    """Reads a file's size, length and rate; decodes one frame.

    Args:
        megapixels: larger pictures and frames are not decoded.

    Raises:
        DataError: the file is missing, broken, too large or holds no video.
    """
    with readable(path):
        if is_still(path):
            width, height, traits = probe_image(path, megapixels)
            return MediaInfo(width, height, 1, IMAGE_FPS, True, traits)
        look = _look_at_animation if is_image(path) else _look_at_video
        first, frames, fps = look(path, megapixels)
        width, height = display_size(first)
        require_pixels(path, width, height, megapixels)
        fps = fps or IMAGE_FPS
        if not is_plausible(frames, fps):
            raise DataError(
                f"{printable(path)}: says that it has {frames:,} frames, {fps:g} in a second; at most "
                f"{MOST_FRAMES:,} are read, {FASTEST_FPS:g} in a second"
            )
        return MediaInfo(
            width, height, max(1, frames), fps, False, _traits(path, first, megapixels)
        )


def _look_at_animation(path: Path, megapixels: float) -> tuple[Decoded, int, float]:
    """The first picture, the number of pictures, and the rate."""
    with closing(decode(path, megapixels)) as decoded:
        first = next(decoded)
    return first, *_count_frames(path, 0.0, megapixels)


def _look_at_video(path: Path, megapixels: float) -> tuple[Decoded, int, float]:
    """The first frame, the number of frames, and the rate; 0 where it is unknown."""
    with open_video(path, megapixels, decode_ahead=False) as (container, stream):
        first = decode_first_frame(path, container, stream)
        frames, fps = stream.frames, float(stream.average_rate or 0)
        seconds = float((stream.duration or 0) * (stream.time_base or 0))
    if not frames or abs(frames - seconds * fps) > 1:
        frames, fps = _count_frames(path, fps, megapixels)
    return first, frames, fps


def _traits(path: Path, first: Decoded, megapixels: float) -> tuple[str, ...]:
    """What shows in the first frame, or in the head of animated pictures."""
    frame, orientation = first.frame, first.orientation
    of_pictures = traits_of_image(path, megapixels) if is_image(path) else ()
    found = {
        **dict.fromkeys((*of_pictures, first.primaries), True),
        "turned": orientation != AS_STORED and orientation not in MIRRORED,
        "mirrored": orientation in MIRRORED,
        "animated": is_image(path),
        "interlaced": bool(frame.interlaced_frame),
        "cropped": first.cropping is not None,
        "alpha_beside": first.has_alpha_beside or has_transparent_palette(frame),
        "hd_matrix": not first.transfer and is_hd_without_matrix(frame) and not is_grey(frame),
        **{transfer: first.transfer == transfer for transfer in HDR},
    }
    return tuple(trait for trait in TRAITS if found.get(trait))


def read_frames(
    path: Path,
    size: VideoSize,
    selection: Selection = BEGINNING,
    like: Path | None = None,
    megapixels: float = DEFAULT_MEGAPIXELS,
) -> np.ndarray:
    """Reads the selected frames of a video, or the one of an image.

    Decoding starts at the key frame before the first of them and ends with the last. Each frame is
    resized to cover `size` (up or down), and the rest of it is cut off.

    Args:
        like: a video of as many frames, whose timestamps say which are selected.
        megapixels: larger pictures and frames are not decoded.

    Returns:
        uint8 RGB [size.frames, size.height, size.width, 3].

    Raises:
        DataError: the file is missing, broken, too large or too short.
    """
    read = partial(_read_frames, path, size, selection, like, megapixels)
    return (
        one_large_at_a_time(pixels_of_image(path, megapixels), read) if is_image(path) else read()
    )


def _read_frames(
    path: Path, size: VideoSize, selection: Selection, like: Path | None, megapixels: float
) -> np.ndarray:
    frames = np.empty((size.frames, size.height, size.width, 3), dtype=np.uint8)
    reformatter = VideoReformatter()
    count = 0
    selected = _selected(path, selection, size.frames, like, megapixels)
    with readable(path), closing(selected):
        for decoded, times in selected:
            _require_modest_whole(path, decoded, size, megapixels)
            frames[count] = cover(decoded, size.width, size.height, selection, reformatter)
            frames[count + 1 : count + times] = frames[count]
            count += times
    if count < size.frames:
        raise DataError(f"{printable(path)}: ends after {count} of the {size.frames} frames needed")
    return frames


def iterate_frames(
    path: Path, megapixels: float = DEFAULT_MEGAPIXELS
) -> Generator[np.ndarray, None, None]:
    """Yields every frame of a video, or the one of an image, at its own size, as it is shown.

    Each is uint8 RGB [height, width, 3]; only one is in memory. The size is that of `probe`: where
    it changes in the middle, later frames cover that of the first.

    Raises:
        DataError: the file is missing, broken or too large.
    """
    reformatter = VideoReformatter()
    size: tuple[int, int] | None = None
    with readable(path), closing(decode(path, megapixels, in_turn=False)) as frames:
        for decoded in frames:
            size = size or display_size(decoded)
            require_pixels(path, *size, megapixels)
            yield cover(decoded, *size, BEGINNING, reformatter)


def _count_frames(path: Path, stated_fps: float, megapixels: float) -> tuple[int, float]:
    """Length and rate from the packets, where a container doesn't state its number of frames, or
    states another than fits its duration: one that was trimmed without encoding it again keeps frames
    that aren't shown, one in fragments counts the first.

    Their stated rate is exact where it fits the timestamps, and a guess where it doesn't.
    """
    times, tick = frame_times(path, megapixels)
    seconds = float((times[-1] - times[0]) * tick) if times else 0.0
    if not seconds:
        return len(times), stated_fps
    fps = (len(times) - 1) / seconds
    return len(times), stated_fps if abs(stated_fps / fps - 1) < FPS_TOLERANCE else fps


def _selected(
    path: Path, selection: Selection, count: int, like: Path | None, megapixels: float
) -> Generator[tuple[Decoded, int], None, None]:
    """Yields up to `count` frames, each with how often it is shown in a row."""
    if is_still(path) or (selection.start == 0 and selection.fps is None):
        with closing(decode(path, megapixels)) as frames:
            for decoded in islice(frames, count):
                yield decoded, 1
        return
    times, tick = frame_times(path, megapixels)
    seen, seen_tick = frame_times(like, megapixels) if like else (times, tick)
    wanted = deque(_wanted_times(times, seen, seen_tick, selection, count))
    if not wanted:
        return
    with closing(decode_from(path, wanted[0], times, megapixels)) as frames:
        for decoded in frames:
            shown, pts = 0, decoded.frame.pts
            while wanted and pts is not None and wanted[0] <= pts:
                wanted.popleft()
                shown += 1
            if shown:
                yield decoded, shown
            if not wanted:
                return


def _wanted_times(
    times: list[int], seen: list[int], tick: Fraction, selection: Selection, count: int
) -> list[int]:
    """Timestamps of the selected frames, as far as the video goes; found without decoding.

    Args:
        seen: timestamps in ticks that say which frame is on the screen when.
    """
    if selection.fps is None:
        return times[selection.start : selection.start + count]
    chosen = _on_screen(seen, tick, selection.start, selection.fps, count)
    return [times[number] for number in chosen if number < len(times)]


def _on_screen(times: list[int], tick: Fraction, start: int, fps: float, count: int) -> list[int]:
    """Numbers of the frames that are shown at moments 1 / fps seconds apart, as far as they go."""
    seconds = [float((time - times[0]) * tick) for time in times]
    frame_seconds = seconds[-1] / max(1, len(seconds) - 1) if seconds else 0.0
    # A tick of an AVI is a whole frame, and exact.
    tolerance = min(max(float(tick), TIMESTAMP_ROUNDING_SECONDS), frame_seconds / 4)
    end = seconds[-1] + frame_seconds if seconds else 0.0
    moments = [(start + i) / fps for i in range(count)]
    return [
        bisect_right(seconds, moment + tolerance) - 1
        for moment in moments
        if moment < end - tolerance
    ]


def _require_modest_whole(path: Path, decoded: Decoded, size: VideoSize, megapixels: float) -> None:
    """Raises `DataError` for a strip that would become huge before most of it is cut off."""
    own = display_size(decoded)
    whole = covering_size(decoded, size.width, size.height)
    if whole[0] * whole[1] > max(megapixels * 1e6, own[0] * own[1], size.width * size.height):
        raise DataError(
            f"{printable(path)}: is {own[0]}x{own[1]}, too narrow to be enlarged to "
            f"{size.width}x{size.height}"
        )
