"""Interlaced frames made whole by FFmpeg's bwdif filter: one frame for each, at the same timestamp."""

from collections import deque
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
from av.filter import Graph
from av.video.stream import VideoStream

from ..errors import DataError
from .readable import LARGE_PIXELS, printable, require_pixels

FILTER, OPTIONS = "bwdif", "mode=send_frame:deint=interlaced"


def deinterlaced(path: Path, frames: Iterator[av.VideoFrame]) -> Iterator[av.VideoFrame]:
    """Yields as many frames, with their timestamps; those that don't say that they are interlaced as
    they are.

    The filter looks at the frames before and after. It is made at the first interlaced frame, and
    anew where their size or format changes.

    Raises:
        DataError: they are larger than 16 million pixels, as the filter holds several.
    """
    filter_of: _Filter | None = None
    for frame in frames:
        if filter_of and filter_of.layout != _layout(frame):
            yield from filter_of.end()
            filter_of = None
        if filter_of is None and frame.interlaced_frame:
            require_pixels(path, frame.width, frame.height, LARGE_PIXELS / 1e6)
            filter_of = _Filter(frame)
        if filter_of is None:
            yield frame
        else:
            yield from filter_of.put(frame)
    if filter_of:
        yield from filter_of.end()


def require_whole_frames(path: Path, stream: VideoStream, frame: av.VideoFrame) -> None:
    """Raises `DataError` for interlaced HEVC, of which FFmpeg gives each field as a frame."""
    if stream.codec_context.name == "hevc" and frame.interlaced_frame:
        raise DataError(
            f"{printable(path)}: is interlaced HEVC, which stores each field as a frame: save it "
            "deinterlaced"
        )


class _Filter:
    def __init__(self, frame: av.VideoFrame):
        self.layout = _layout(frame)
        self._times: deque[tuple[int | None, Fraction | None]] = deque()
        self._graph = Graph()
        width, height, pixel_format = self.layout
        source = self._graph.add_buffer(
            width=width,
            height=height,
            format=av.VideoFormat(pixel_format),
            time_base=frame.time_base or Fraction(1, 25),
        )
        deinterlace = self._graph.add(FILTER, OPTIONS)
        source.link_to(deinterlace)
        deinterlace.link_to(self._graph.add("buffersink"))
        self._graph.configure()

    def put(self, frame: av.VideoFrame) -> Iterator[av.VideoFrame]:
        """Yields what is ready: frames come out one later than they go in."""
        self._times.append((frame.pts, frame.time_base))
        self._graph.push(frame)
        return self._pull()

    def end(self) -> Iterator[av.VideoFrame]:
        """Yields what remains."""
        self._graph.push(None)
        return self._pull()

    def _pull(self) -> Iterator[av.VideoFrame]:
        while self._times:
            try:
                frame: Any = self._graph.pull()
            except (av.BlockingIOError, av.EOFError):
                return
            # The filter counts in half ticks, and has made up the last one.
            frame.pts, time_base = self._times.popleft()
            if time_base is not None:
                frame.time_base = time_base
            yield frame


def _layout(frame: av.VideoFrame) -> tuple[int, int, str]:
    return frame.width, frame.height, frame.format.name
