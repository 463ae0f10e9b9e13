"""Videos out of files; an image reads as a video of one frame.

Frames are resized while they are decoded, by swscale's bicubic filter (it widens when shrinking, so
nothing aliases) with full chroma and accurate rounding. Against decoding to RGB and resizing with
Pillow's bicubic filter this costs a fifth, and the pixels differ by 0.002 on [-1, 1] on average.
"""

from bisect import bisect_right
from collections import deque
from collections.abc import Generator
from contextlib import closing
from fractions import Fraction
from functools import partial
from itertools import chain, islice
from pathlib import Path
from typing import TypeAlias

import av
import numpy as np
from av.video.reformatter import VideoReformatter

from ..errors import DataError
from ..geometry import VideoSize
from .container import open_video
from .formats import is_image
from .images import decode_image, pixels_of_image, read_image
from .info import BEGINNING, FASTEST_FPS, IMAGE_FPS, MOST_FRAMES, MediaInfo, Selection, is_plausible
from .readable import (
    DEFAULT_MEGAPIXELS,
    one_large_at_a_time,
    printable,
    readable,
    require_pixels,
)

FPS_TOLERANCE = 0.02
TIMESTAMP_ROUNDING_SECONDS = 0.001  # Matroska and WebM write whole milliseconds
BT601 = 5
SWS_BICUBIC = 4
SWS_FULL_CHROMA = 0x2000 | 0x4000
SWS_ACCURATE_ROUNDING = 0x40000
RESIZE = SWS_BICUBIC | SWS_FULL_CHROMA | SWS_ACCURATE_ROUNDING


def probe(path: Path, megapixels: float = DEFAULT_MEGAPIXELS) -> MediaInfo:
    """Reads a file's size, length and rate; decodes one frame.

    Args:
        megapixels: larger pictures and frames are not decoded.

    Raises:
        DataError: the file is missing, broken, too large or holds no video.
    """
    with readable(path):
        if is_image(path):
            height, width = read_image(path, megapixels).shape[:2]
            return MediaInfo(width, height, 1, IMAGE_FPS, True)
        with open_video(path, megapixels, decode_ahead=False) as (container, stream):
            frame = next(container.decode(stream), None)
            if frame is None:
                raise DataError(f"{printable(path)}: holds no video frame")
            width, height = _display_size(frame, stream.sample_aspect_ratio)
            require_pixels(path, width, height, megapixels)
            frames, fps = stream.frames, float(stream.average_rate or 0)
            seconds = float((stream.duration or 0) * (stream.time_base or 0))
        if not frames or abs(frames - seconds * fps) > 1:
            frames, fps = _count_frames(path, fps, megapixels)
        fps = fps or IMAGE_FPS
        if not is_plausible(frames, fps):
            raise DataError(
                f"{printable(path)}: says that it has {frames:,} frames, {fps:g} in a second; at most "
                f"{MOST_FRAMES:,} are read, {FASTEST_FPS:g} in a second"
            )
        return MediaInfo(width, height, max(1, frames), fps, False)


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
        for frame, pixel_aspect, times in selected:
            _require_modest_whole(path, frame, pixel_aspect, size, megapixels)
            frames[count] = _cover(
                frame, pixel_aspect, size.width, size.height, selection, reformatter
            )
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
    with readable(path), closing(_decode(path, megapixels, in_turn=False)) as decoded:
        for frame, pixel_aspect in decoded:
            size = size or _display_size(frame, pixel_aspect)
            require_pixels(path, *size, megapixels)
            yield _cover(frame, pixel_aspect, *size, BEGINNING, reformatter)


def _count_frames(path: Path, stated_fps: float, megapixels: float) -> tuple[int, float]:
    """Length and rate from the packets, where a container doesn't state its number of frames, or
    states another than fits its duration: one that was trimmed without encoding it anew keeps frames
    that aren't shown, one in fragments counts the first.

    Their stated rate is exact where it fits the timestamps, and a guess where it doesn't.
    """
    times, tick = _frame_times(path, megapixels)
    seconds = float((times[-1] - times[0]) * tick) if times else 0.0
    if not seconds:
        return len(times), stated_fps
    fps = (len(times) - 1) / seconds
    return len(times), stated_fps if abs(stated_fps / fps - 1) < FPS_TOLERANCE else fps


def _frame_times(path: Path, megapixels: float) -> tuple[list[int], Fraction]:
    """Timestamps of all frames in ticks, and the seconds of a tick; nothing is decoded."""
    with open_video(path, megapixels) as (container, stream):
        packets = container.demux(stream)
        shown = (p.pts for p in packets if p.pts is not None and not p.is_discard)
        return sorted(islice(shown, MOST_FRAMES + 1)), stream.time_base or Fraction(1)


Decoded: TypeAlias = tuple[av.VideoFrame, Fraction | None]
"""A frame with the aspect ratio of its pixels."""


def _selected(
    path: Path, selection: Selection, count: int, like: Path | None, megapixels: float
) -> Generator[tuple[av.VideoFrame, Fraction | None, int], None, None]:
    """Yields up to `count` frames, each with how often it is shown in a row."""
    if is_image(path) or (selection.start == 0 and selection.fps is None):
        with closing(_decode(path, megapixels)) as decoded:
            for frame, pixel_aspect in islice(decoded, count):
                yield frame, pixel_aspect, 1
        return
    times, tick = _frame_times(path, megapixels)
    seen, seen_tick = _frame_times(like, megapixels) if like else (times, tick)
    wanted = deque(_wanted_times(times, seen, seen_tick, selection, count))
    if not wanted:
        return
    with closing(_decode_from(path, wanted[0], times, megapixels)) as decoded:
        for frame, pixel_aspect in decoded:
            shown = 0
            while wanted and frame.pts is not None and wanted[0] <= frame.pts:
                wanted.popleft()
                shown += 1
            if shown:
                yield frame, pixel_aspect, shown
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


def _decode(path: Path, megapixels: float, in_turn: bool = True) -> Generator[Decoded, None, None]:
    """Yields every frame; those of large videos while no other thread reads one (`in_turn`)."""
    if is_image(path):
        yield _image_frame(path, megapixels), None
        return
    with open_video(path, megapixels, in_turn=in_turn) as (container, stream):
        for frame in container.decode(stream):
            yield frame, stream.sample_aspect_ratio


def _image_frame(path: Path, megapixels: float) -> av.VideoFrame:
    """An image, written into a frame at once: PyAV's own `from_ndarray` makes two copies more."""
    frame = av.VideoFrame()

    def make_room(height: int, width: int) -> np.ndarray:
        nonlocal frame
        frame = av.VideoFrame(width, height, "rgb24")
        plane = frame.planes[0]
        shape, strides = (height, width, 3), (plane.line_size, 3, 1)
        return np.ndarray(shape, np.uint8, memoryview(plane), strides=strides)

    decode_image(path, megapixels, make_room)
    return frame


def _decode_from(
    path: Path, time: int, times: list[int], megapixels: float
) -> Generator[Decoded, None, None]:
    """Yields frames from a timestamp or before it on; from the first one where seeking misses.

    An AVI holds no timestamps, and what is made up for its frames is out of order where they are
    not stored in the order that they are shown in: they get the video's `times` by their number.
    """
    with open_video(path, megapixels) as (container, stream):
        if container.format.name == "avi" and stream.codec_context.has_b_frames:
            for frame, shown_at in zip(container.decode(stream), times, strict=False):
                frame.pts = shown_at
                yield frame, stream.sample_aspect_ratio
            return
        container.seek(time, stream=stream)
        frames = container.decode(stream)
        first = next(frames, None)
        if first and first.pts is not None and first.pts <= time and not first.is_corrupt:
            for frame in chain([first], frames):
                yield frame, stream.sample_aspect_ratio
            return
    yield from _decode(path, megapixels)


def _quarter_turns(frame: av.VideoFrame) -> int:
    """How often a frame is turned to the left to be shown: 0 to 3."""
    return round(frame.rotation / 90) % 4


def _display_size(frame: av.VideoFrame, pixel_aspect: Fraction | None) -> tuple[int, int]:
    width = max(1, round(frame.width * (pixel_aspect or 1)))
    return (frame.height, width) if _quarter_turns(frame) % 2 else (width, frame.height)


def _covering_size(
    frame: av.VideoFrame, pixel_aspect: Fraction | None, width: int, height: int
) -> tuple[int, int]:
    """The size that a whole frame gets to cover a size."""
    own_width, own_height = _display_size(frame, pixel_aspect)
    scale = max(width / own_width, height / own_height)
    return max(width, round(own_width * scale)), max(height, round(own_height * scale))


def _require_modest_whole(
    path: Path,
    frame: av.VideoFrame,
    pixel_aspect: Fraction | None,
    size: VideoSize,
    megapixels: float,
) -> None:
    """Raises `DataError` for a strip that would become huge before most of it is cut off."""
    own = _display_size(frame, pixel_aspect)
    whole = _covering_size(frame, pixel_aspect, size.width, size.height)
    if whole[0] * whole[1] > max(megapixels * 1e6, own[0] * own[1], size.width * size.height):
        raise DataError(
            f"{printable(path)}: is {own[0]}x{own[1]}, too narrow to be enlarged to "
            f"{size.width}x{size.height}"
        )


def _cover(
    frame: av.VideoFrame,
    pixel_aspect: Fraction | None,
    width: int,
    height: int,
    selection: Selection,
    reformatter: VideoReformatter,
) -> np.ndarray:
    """Resizes a frame to cover a size, turns it upright and cuts out the selected part."""
    whole_width, whole_height = _covering_size(frame, pixel_aspect, width, height)
    pixels = _upright(frame, whole_width, whole_height, reformatter)
    top = int(selection.y * (whole_height - height))
    left = int(selection.x * (whole_width - width))
    return pixels[top : top + height, left : left + width]


def _upright(
    frame: av.VideoFrame, width: int, height: int, reformatter: VideoReformatter
) -> np.ndarray:
    """A frame at the given size as it is shown, uint8 RGB, alpha over black."""
    stored_width, stored_height = (height, width) if _quarter_turns(frame) % 2 else (width, height)
    has_alpha = any(component.is_alpha for component in frame.format.components)
    pixels = reformatter.reformat(
        frame,
        width=stored_width,
        height=stored_height,
        format="rgba" if has_alpha else "rgb24",
        interpolation=RESIZE,
        # Means nothing for RGB, but PyAV 14 minds the frame's own matrix only if this one differs.
        dst_colorspace=None if frame.format.is_rgb else BT601,
    ).to_ndarray()
    if has_alpha:
        pixels = (pixels[..., :3] * (pixels[..., 3:] / 255)).round().astype(np.uint8)
    return np.rot90(pixels, _quarter_turns(frame))
