"""Frames out of files, one after the other, and when each is shown; an image has one frame."""

from collections.abc import Generator, Iterator
from contextlib import closing
from fractions import Fraction
from itertools import chain, islice
from pathlib import Path

import av
import numpy as np
from av.video.stream import VideoStream

from ..errors import DataError
from .alpha import frames_with_alpha, is_beside, require_transparency
from .animated import TICKS_PER_SECOND, shown_at
from .container import open_video
from .cropping import cropped, cropping_of
from .deinterlace import deinterlaced, require_whole_frames
from .formats import is_image
from .hdr import primaries_of, transfer_of
from .images import decode_image, pictures_of_animation
from .info import MOST_FRAMES
from .orientation import orientation_of
from .readable import printable
from .showing import Decoded


def frame_times(path: Path, megapixels: float) -> tuple[list[int], Fraction]:
    """Timestamps of all frames in ticks, and the seconds of a tick; nothing is decoded."""
    if is_image(path):
        return shown_at(path)[:-1] or [0], Fraction(1, TICKS_PER_SECOND)
    with open_video(path, megapixels) as (container, stream):
        packets = container.demux(stream)
        shown = (p.pts for p in packets if p.pts is not None and not p.is_discard)
        return sorted(islice(shown, MOST_FRAMES + 1)), stream.time_base or Fraction(1)


def decode(
    path: Path, megapixels: float, in_turn: bool = True, decode_ahead: bool = True
) -> Generator[Decoded, None, None]:
    """Yields every frame; those of large videos while no other thread reads one (`in_turn`)."""
    if is_image(path):
        yield from _decode_pictures(path, megapixels)
        return
    with open_video(path, megapixels, decode_ahead, in_turn) as (container, stream):
        frames = _frames(container, stream)
        yield from _as_decoded(stream, frames)


def decode_from(
    path: Path, time: int, times: list[int], megapixels: float
) -> Generator[Decoded, None, None]:
    """Yields frames from a timestamp or before it on; from the first one where seeking misses.

    An AVI holds no timestamps, and what is made up for its frames is out of order where they are
    not stored in the order that they are shown in: they get the video's `times` by their number.
    """
    if is_image(path):
        yield from _decode_pictures(path, megapixels)
        return
    with open_video(path, megapixels) as (container, stream):
        if container.format.name == "avi" and stream.codec_context.has_b_frames:
            frames = _timed(_frames(container, stream), times)
            yield from _as_decoded(stream, frames)
            return
        first, frames = _sought(container, stream, time)
        if first and first.interlaced_frame and first.pts == time > times[0]:
            # To deinterlace a frame takes the one before.
            first, frames = _sought(container, stream, max(t for t in times if t < time))
        if first and first.pts is not None and first.pts <= time and not first.is_corrupt:
            yield from _as_decoded(stream, chain([first], frames))
            return
    yield from decode(path, megapixels)


def decode_first_frame(
    path: Path, container: av.container.InputContainer, stream: VideoStream
) -> Decoded:
    """The first frame of a video that was just opened, as it is stored.

    Raises:
        DataError: it has none, or its transparency can't be decoded.
    """
    for decoded in _as_decoded(stream, _frames(container, stream), deinterlace=False):
        return decoded
    raise DataError(f"{printable(path)}: holds no video frame")


def _sought(
    container: av.container.InputContainer, stream: VideoStream, time: int
) -> tuple[av.VideoFrame | None, Iterator[av.VideoFrame]]:
    container.seek(time, stream=stream)
    frames = _frames(container, stream)
    return next(frames, None), frames


def _frames(container: av.container.InputContainer, stream: VideoStream) -> Iterator[av.VideoFrame]:
    """Raises `DataError` where fields or transparency would be lost."""
    path = Path(container.name)
    if is_beside(stream):
        yield from frames_with_alpha(path, container, stream)
        return
    for number, frame in enumerate(container.decode(stream)):
        if number == 0:
            require_transparency(path, stream, frame)
            require_whole_frames(path, stream, frame)
        yield frame


def _timed(frames: Iterator[av.VideoFrame], times: list[int]) -> Iterator[av.VideoFrame]:
    for frame, time in zip(frames, times, strict=False):
        frame.pts = time
        yield frame


def _as_decoded(
    stream: VideoStream, frames: Iterator[av.VideoFrame], deinterlace: bool = True
) -> Iterator[Decoded]:
    path = Path(stream.container.name)
    cropping = cropping_of(path, stream.container)
    if deinterlace:
        frames = deinterlaced(path, frames)
    if cropping:
        frames = cropped(frames, cropping)
    rotation: float | None = None
    for number, frame in enumerate(frames):
        if number == 0:  # some codecs state it there
            transfer, beside = transfer_of(stream), is_beside(stream)
            primaries = primaries_of(stream)
        if frame.rotation != rotation:
            # A frame that was asked for its side data is in a cycle with that: it stays in memory
            # until Python collects those (PyAV 18.1).
            rotation, orientation = frame.rotation, orientation_of(frame)
        aspect = stream.sample_aspect_ratio
        yield Decoded(frame, aspect, orientation, transfer, beside, primaries, cropping)


def _decode_pictures(path: Path, megapixels: float) -> Iterator[Decoded]:
    """An image, or all pictures of an animation, each written into a frame at once: PyAV's own
    `from_ndarray` makes two copies more."""
    frame = av.VideoFrame()

    def make_room(height: int, width: int) -> np.ndarray:
        nonlocal frame
        frame = av.VideoFrame(width, height, "rgb24")
        plane = frame.planes[0]
        shape, strides = (height, width, 3), (plane.line_size, 3, 1)
        result: np.ndarray = np.ndarray(shape, np.uint8, memoryview(plane), strides=strides)
        return result

    times = shown_at(path)
    if not times:
        decode_image(path, megapixels, make_room)
        yield Decoded(frame, None)
        return
    pictures = pictures_of_animation(path, len(times) - 1, megapixels, make_room)
    with closing(pictures):
        for shown, _ in zip(times, pictures, strict=False):
            frame.pts, frame.time_base = shown, Fraction(1, TICKS_PER_SECOND)
            yield Decoded(frame, None)
