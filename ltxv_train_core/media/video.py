"""Videos out of files; an image reads as a video of one frame.

Frames are resized while they are decoded, by swscale's bicubic filter (it widens when shrinking, so
nothing aliases) with full chroma and accurate rounding. Against decoding to RGB and resizing with
Pillow's bicubic filter this costs a fifth, and the pixels differ by 0.002 on [-1, 1] on average.
"""

import os
from bisect import bisect_right
from collections import deque
from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager
from fractions import Fraction
from itertools import chain, islice
from pathlib import Path
from typing import TypeAlias

import av
import numpy as np
from av.video.reformatter import VideoReformatter
from PIL import Image

from ..errors import DataError
from ..geometry import VideoSize
from .images import read_image
from .info import BEGINNING, IMAGE_FPS, MediaInfo, Selection, is_image

FPS_TOLERANCE = 0.02
TIMESTAMP_ROUNDING_SECONDS = 0.001  # Matroska and WebM write whole milliseconds
BT601 = 5
SWS_BICUBIC = 4
SWS_FULL_CHROMA = 0x2000 | 0x4000
SWS_ACCURATE_ROUNDING = 0x40000
RESIZE = SWS_BICUBIC | SWS_FULL_CHROMA | SWS_ACCURATE_ROUNDING


def probe(path: Path) -> MediaInfo:
    """Reads a file's size, length and rate; decodes one frame.

    Raises:
        DataError: the file is missing, broken or holds no video.
    """
    with _readable(path):
        if is_image(path):
            height, width = read_image(path).shape[:2]
            return MediaInfo(width, height, 1, IMAGE_FPS, True)
        with _open_video(path, decode_ahead=False) as (container, stream):
            frame = next(container.decode(stream), None)
            if frame is None:
                raise DataError(f"{path}: holds no video frame")
            width, height = _display_size(frame, stream.sample_aspect_ratio)
            frames, fps = stream.frames, float(stream.average_rate or 0)
            seconds = float((stream.duration or 0) * (stream.time_base or 0))
        if not frames or abs(frames - seconds * fps) > 1:
            frames, fps = _count_frames(path, fps)
        return MediaInfo(width, height, frames, fps or IMAGE_FPS, False)


def read_frames(
    path: Path, size: VideoSize, selection: Selection = BEGINNING, like: Path | None = None
) -> np.ndarray:
    """Reads the selected frames of a video, or the one of an image.

    Decoding starts at the key frame before the first of them and ends with the last. Each frame is
    resized to cover `size` (up or down), and the rest of it is cut off.

    Args:
        like: a video of as many frames, whose timestamps say which are selected.

    Returns:
        uint8 RGB [size.frames, size.height, size.width, 3].

    Raises:
        DataError: the file is missing, broken or too short.
    """
    frames = np.empty((size.frames, size.height, size.width, 3), dtype=np.uint8)
    reformatter = VideoReformatter()
    count = 0
    with _readable(path), closing(_selected(path, selection, size.frames, like)) as selected:
        for frame, pixel_aspect, times in selected:
            frames[count] = _cover(
                frame, pixel_aspect, size.width, size.height, selection, reformatter
            )
            frames[count + 1 : count + times] = frames[count]
            count += times
    if count < size.frames:
        raise DataError(f"{path}: ends after {count} of the {size.frames} frames needed")
    return frames


def iterate_frames(path: Path) -> Generator[np.ndarray, None, None]:
    """Yields every frame of a video, or the one of an image, at its own size, as it is shown.

    Each is uint8 RGB [height, width, 3]; only one is in memory. The size is that of `probe`: where
    it changes in the middle, later frames cover that of the first.

    Raises:
        DataError: the file is missing or broken.
    """
    reformatter = VideoReformatter()
    size: tuple[int, int] | None = None
    with _readable(path), closing(_decode(path)) as decoded:
        for frame, pixel_aspect in decoded:
            size = size or _display_size(frame, pixel_aspect)
            yield _cover(frame, pixel_aspect, *size, BEGINNING, reformatter)


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    """Turns what decoders raise into one error that names the file."""
    try:
        if not path.is_file():
            raise DataError(f"{path}: no such file")
        yield
    except DataError:
        raise
    except (
        av.FFmpegError,
        OSError,
        ValueError,
        SyntaxError,  # Pillow, for a broken PNG
        Image.DecompressionBombError,
    ) as error:
        reason = getattr(error, "strerror", None) or error
        raise DataError(f"{path}: can't be read as a video or image ({reason})") from error


@contextmanager
def _open_video(path: Path, decode_ahead: bool = True):
    """Yields the container and its first video stream; sound is never decoded.

    Threads decode some frames ahead, which is wasted on one frame alone. Two clips are usually read
    at a time: each takes half of the processor.
    """
    with av.open(str(path)) as container:
        if not container.streams.video:
            raise DataError(f"{path}: holds no video")
        stream = container.streams.video[0]
        stream.thread_type = "AUTO" if decode_ahead else "SLICE"
        stream.codec_context.thread_count = max(1, (os.cpu_count() or 1) // 2)
        yield container, stream


def _count_frames(path: Path, stated_fps: float) -> tuple[int, float]:
    """Length and rate from the packets, where a container doesn't state its number of frames, or
    states another than fits its duration: one that was trimmed without encoding it anew keeps frames
    that aren't shown, one in fragments counts the first.

    Their stated rate is exact where it fits the timestamps, and a guess where it doesn't.
    """
    times, tick = _frame_times(path)
    seconds = float((times[-1] - times[0]) * tick) if times else 0.0
    if not seconds:
        return len(times), stated_fps
    fps = (len(times) - 1) / seconds
    return len(times), stated_fps if abs(stated_fps / fps - 1) < FPS_TOLERANCE else fps


def _frame_times(path: Path) -> tuple[list[int], Fraction]:
    """Timestamps of all frames in ticks, and the seconds of a tick; nothing is decoded."""
    with _open_video(path) as (container, stream):
        packets = container.demux(stream)
        times = [p.pts for p in packets if p.pts is not None and not p.is_discard]
        return sorted(times), stream.time_base or Fraction(1)


Decoded: TypeAlias = tuple[av.VideoFrame, Fraction | None]
"""A frame with the aspect ratio of its pixels."""


def _selected(
    path: Path, selection: Selection, count: int, like: Path | None
) -> Generator[tuple[av.VideoFrame, Fraction | None, int], None, None]:
    """Yields up to `count` frames, each with how often it is shown in a row."""
    if is_image(path) or (selection.start == 0 and selection.fps is None):
        with closing(_decode(path)) as decoded:
            for frame, pixel_aspect in islice(decoded, count):
                yield frame, pixel_aspect, 1
        return
    times, tick = _frame_times(path)
    wanted = deque(_wanted_times(times, tick, selection, count, like))
    if not wanted:
        return
    with closing(_decode_from(path, wanted[0], times)) as decoded:
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
    times: list[int], tick: Fraction, selection: Selection, count: int, like: Path | None
) -> list[int]:
    """Timestamps of the selected frames, as far as the video goes; found without decoding."""
    if selection.fps is None:
        return times[selection.start : selection.start + count]
    shown, tick = _frame_times(like) if like else (times, tick)
    chosen = _on_screen(shown, tick, selection.start, selection.fps, count)
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


def _decode(path: Path) -> Generator[Decoded, None, None]:
    """Yields every frame."""
    if is_image(path):
        yield av.VideoFrame.from_ndarray(read_image(path), format="rgb24"), None
        return
    with _open_video(path) as (container, stream):
        for frame in container.decode(stream):
            yield frame, stream.sample_aspect_ratio


def _decode_from(path: Path, time: int, times: list[int]) -> Generator[Decoded, None, None]:
    """Yields frames from a timestamp or before it on; from the first one where seeking misses.

    An AVI holds no timestamps, and what is made up for its frames is out of order where they are
    not stored in the order that they are shown in: they get the video's `times` by their number.
    """
    with _open_video(path) as (container, stream):
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
    yield from _decode(path)


def _display_size(frame: av.VideoFrame, pixel_aspect: Fraction | None) -> tuple[int, int]:
    width = max(1, round(frame.width * (pixel_aspect or 1)))
    return (frame.height, width) if frame.rotation % 180 else (width, frame.height)


def _cover(
    frame: av.VideoFrame,
    pixel_aspect: Fraction | None,
    width: int,
    height: int,
    selection: Selection,
    reformatter: VideoReformatter,
) -> np.ndarray:
    """Resizes a frame to cover a size, turns it upright and cuts out the selected part."""
    own_width, own_height = _display_size(frame, pixel_aspect)
    scale = max(width / own_width, height / own_height)
    whole_width, whole_height = (
        max(width, round(own_width * scale)),
        max(height, round(own_height * scale)),
    )
    pixels = _upright(frame, whole_width, whole_height, reformatter)
    top = int(selection.y * (whole_height - height))
    left = int(selection.x * (whole_width - width))
    return pixels[top : top + height, left : left + width]


def _upright(
    frame: av.VideoFrame, width: int, height: int, reformatter: VideoReformatter
) -> np.ndarray:
    """A frame at the given size as it is shown, uint8 RGB, alpha over black."""
    stored_width, stored_height = (height, width) if frame.rotation % 180 else (width, height)
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
    return np.rot90(pixels, round(frame.rotation / 90))
