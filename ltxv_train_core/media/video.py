"""Videos in and out of files; an image reads as a video of one frame.

Frames are resized while they are decoded, by swscale's bicubic filter (it widens when shrinking, so
nothing aliases) with full chroma and accurate rounding. Against decoding to RGB and resizing with
Pillow's bicubic filter this costs a fifth, and the pixels differ by 0.002 on [-1, 1] on average.
"""

from bisect import bisect_right
from collections import deque
from collections.abc import Generator, Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain, islice
from math import floor
from pathlib import Path
from typing import TypeAlias

import av
import numpy as np
from av.video.reformatter import VideoReformatter
from PIL import Image

from ..errors import DataError
from ..files import atomic_path
from ..geometry import VideoSize
from .images import is_image, read_image

VIDEO_SUFFIXES = frozenset({".mp4", ".mov", ".mkv", ".webm", ".gif", ".avi", ".m4v"})
IMAGE_FPS = 25.0
FPS_TOLERANCE = 0.02
ROUNDING = 1e-4
TIMESTAMP_ROUNDING_SECONDS = 0.001  # Matroska and WebM write whole milliseconds
BT709 = 1
BT601 = 5
LIMITED_RANGE = 1
FULL_RANGE = 2
SWS_BICUBIC = 4
SWS_FULL_CHROMA = 0x2000 | 0x4000
SWS_ACCURATE_ROUNDING = 0x40000
RESIZE = SWS_BICUBIC | SWS_FULL_CHROMA | SWS_ACCURATE_ROUNDING


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
        if not frames:
            frames, fps = _count_frames(path, fps)
        return MediaInfo(width, height, frames, fps or IMAGE_FPS, False)


def read_frames(path: Path, size: VideoSize, selection: Selection = BEGINNING) -> np.ndarray:
    """Reads the selected frames of a video, or the one of an image.

    Decoding starts at the key frame before the first of them and ends with the last. Each frame is
    resized to cover `size` (up or down), and the rest of it is cut off.

    Returns:
        uint8 RGB [size.frames, size.height, size.width, 3].

    Raises:
        DataError: the file is missing, broken or too short.
    """
    frames = np.empty((size.frames, size.height, size.width, 3), dtype=np.uint8)
    reformatter = VideoReformatter()
    count = 0
    with _readable(path), closing(_selected(path, selection, size.frames)) as selected:
        for frame, pixel_aspect, times in selected:
            frames[count] = _cover(frame, pixel_aspect, size, selection, reformatter)
            frames[count + 1 : count + times] = frames[count]
            count += times
    if count < size.frames:
        raise DataError(f"{path}: ends after {count} of the {size.frames} frames needed")
    return frames


def iterate_frames(path: Path) -> Generator[np.ndarray, None, None]:
    """Yields every frame of a video, or the one of an image, at its own size, as it is shown.

    Each is uint8 RGB [height, width, 3]; only one is in memory. The size is that of `probe`.

    Raises:
        DataError: the file is missing or broken.
    """
    reformatter = VideoReformatter()
    with _readable(path), closing(_decode(path)) as decoded:
        for frame, pixel_aspect in decoded:
            width, height = _display_size(frame, pixel_aspect)
            yield _upright(frame, width, height, reformatter)


def write_exact_video(
    path: Path, frames: Iterable[np.ndarray], fps: float, grey: bool = False
) -> None:
    """Writes an mp4 that gives back exactly the frames that it was made of, atomically.

    Few players show such files (h264 in RGB or grey). Frames and fps as in `write_video`.

    Args:
        grey: the three colours of every pixel are equal: a third of the size.
    """
    with atomic_path(path) as temporary, av.open(str(temporary), "w", format="mp4") as container:
        stream = container.add_stream(
            "libx264" if grey else "libx264rgb",
            rate=Fraction(fps).limit_denominator(1001),
            options={"crf": "0", "preset": "veryfast"},
        )
        stream.pix_fmt = "gray" if grey else "rgb24"
        if grey:
            stream.codec_context.color_range = FULL_RANGE
        for pixels in frames:
            if not stream.codec_context.is_open:
                stream.height, stream.width = pixels.shape[:2]
            stored = np.ascontiguousarray(pixels[..., 0] if grey else pixels)
            frame = av.VideoFrame.from_ndarray(stored, format=stream.pix_fmt)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


def write_video(path: Path, frames: Iterable[np.ndarray], fps: float, crf: int = 12) -> None:
    """Writes an h264 mp4, atomically, tagged BT.709 so that every player shows the same colours.

    Args:
        frames: uint8 RGB [frames, height, width, 3], or one frame after the other. Odd sizes are
            written as yuv444p.
        fps: frames per second; written as the nearest fraction with a denominator up to 1001.
        crf: x264's constant rate factor; 0 is nearly lossless, 51 the coarsest.
    """
    remaining = iter(frames)
    first = next(remaining)
    assert first.dtype == np.uint8, first.dtype
    height, width, channels = first.shape
    assert channels == 3, first.shape
    pixel_format = "yuv420p" if height % 2 == 0 and width % 2 == 0 else "yuv444p"
    with atomic_path(path) as temporary, av.open(str(temporary), "w", format="mp4") as container:
        stream = container.add_stream(
            "libx264", rate=Fraction(fps).limit_denominator(1001), options={"crf": str(crf)}
        )
        stream.width, stream.height, stream.pix_fmt = width, height, pixel_format
        stream.codec_context.colorspace = BT709
        stream.codec_context.color_primaries = BT709
        stream.codec_context.color_trc = BT709
        stream.codec_context.color_range = LIMITED_RANGE
        for pixels in chain([first], remaining):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgb24")
            converted = frame.reformat(format=pixel_format, dst_colorspace=BT709)
            container.mux(stream.encode(converted))
        container.mux(stream.encode())


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

    Threads decode some frames ahead, which is wasted on one frame alone.
    """
    with av.open(str(path)) as container:
        if not container.streams.video:
            raise DataError(f"{path}: holds no video")
        stream = container.streams.video[0]
        stream.thread_type = "AUTO" if decode_ahead else "SLICE"
        yield container, stream


def _count_frames(path: Path, stated_fps: float) -> tuple[int, float]:
    """Length and rate from the packets, for containers that don't state their number of frames.

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
    path: Path, selection: Selection, count: int
) -> Generator[tuple[av.VideoFrame, Fraction | None, int], None, None]:
    """Yields up to `count` frames, each with how often it is shown in a row."""
    if is_image(path) or (selection.start == 0 and selection.fps is None):
        with closing(_decode(path)) as decoded:
            for frame, pixel_aspect in islice(decoded, count):
                yield frame, pixel_aspect, 1
        return
    wanted = deque(_wanted_times(path, selection, count))
    if not wanted:
        return
    with closing(_decode_from(path, wanted[0])) as decoded:
        for frame, pixel_aspect in decoded:
            times = 0
            while wanted and frame.pts is not None and wanted[0] <= frame.pts:
                wanted.popleft()
                times += 1
            if times:
                yield frame, pixel_aspect, times
            if not wanted:
                return


def _wanted_times(path: Path, selection: Selection, count: int) -> list[int]:
    """Timestamps of the selected frames, as far as the video goes; found without decoding."""
    times, tick = _frame_times(path)
    if selection.fps is None:
        return times[selection.start : selection.start + count]
    seconds = [float((time - times[0]) * tick) for time in times]
    tolerance = max(float(tick), TIMESTAMP_ROUNDING_SECONDS)
    shown = seconds[-1] + seconds[-1] / max(1, len(seconds) - 1) if seconds else 0.0
    moments = [(selection.start + i) / selection.fps for i in range(count)]
    return [
        times[bisect_right(seconds, moment + tolerance) - 1]
        for moment in moments
        if moment < shown - tolerance
    ]


def _decode(path: Path) -> Generator[Decoded, None, None]:
    """Yields every frame."""
    if is_image(path):
        yield av.VideoFrame.from_ndarray(read_image(path), format="rgb24"), None
        return
    with _open_video(path) as (container, stream):
        for frame in container.decode(stream):
            yield frame, stream.sample_aspect_ratio


def _decode_from(path: Path, time: int) -> Generator[Decoded, None, None]:
    """Yields frames from a timestamp or before it on; from the first one where seeking misses."""
    with _open_video(path) as (container, stream):
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
    size: VideoSize,
    selection: Selection,
    reformatter: VideoReformatter,
) -> np.ndarray:
    """Resizes a frame to cover `size`, turns it upright and cuts out the selected part."""
    width, height = _display_size(frame, pixel_aspect)
    scale = max(size.width / width, size.height / height)
    width, height = (
        max(size.width, round(width * scale)),
        max(size.height, round(height * scale)),
    )
    pixels = _upright(frame, width, height, reformatter)
    top = int(selection.y * (height - size.height))
    left = int(selection.x * (width - size.width))
    return pixels[top : top + size.height, left : left + size.width]


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
