"""What containers cut off a picture: the clean aperture of MP4 and MOV (`clap`), PixelCrop of Matroska and WebM.

PyAV gives whole frames; players cut them. ISO/IEC 14496-12, 12.1.4; RFC 9559, 5.1.4.1.28.
"""

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import av
from av.filter import Graph

from .mp4_boxes import first_video_description

# What stands before the boxes of a visual sample entry (ISO/IEC 14496-12, 12.1.3).
SAMPLE_ENTRY_BYTES = 78
# Ids of Matroska's elements (RFC 9559).
SEGMENT, TRACKS, TRACK, TRACK_TYPE, VIDEO = 0x18538067, 0x1654AE6B, 0xAE, 0x83, 0xE0
CROPS = {0x54CC: "left", 0x54BB: "top", 0x54DD: "right", 0x54AA: "bottom"}
IS_VIDEO = 1
MOST_ELEMENTS = 100_000


class Cropping(NamedTuple):
    """Pixels that are cut off each side."""

    left: int = 0
    top: int = 0
    right: int = 0
    bottom: int = 0


def cropping_of(path: Path, container: av.container.Container) -> Cropping | None:
    """What is cut off the first video of a file; None where nothing is.

    What would leave nothing counts as nothing.
    """
    with path.open("rb") as file:
        if "matroska" in container.format.name:
            return _of_matroska(file)
        if "mp4" not in container.format.name:
            return None
        entry = first_video_description(file, path.stat().st_size)
    width, height = (int.from_bytes(entry[at : at + 2], "big") for at in (24, 26))
    return next(
        (
            aperture(box, width, height)
            for kind, box in boxes(entry[SAMPLE_ENTRY_BYTES:])
            if kind == b"clap"
        ),
        None,
    )


def aperture(box: bytes, width: int, height: int) -> Cropping | None:
    """What a box `clap` cuts off a picture of a size, in whole pixels."""
    numbers = [int.from_bytes(box[at : at + 4], "big", signed=True) for at in range(0, 32, 4)]
    if len(box) < 32 or any(denominator <= 0 for denominator in numbers[1::2]):
        return None
    own_width, own_height, right, down = (
        Fraction(n, d) for n, d in zip(numbers[::2], numbers[1::2], strict=True)
    )
    left, top = (width - own_width) / 2 + right, (height - own_height) / 2 + down
    cropping = Cropping(
        int(left), int(top), int(width - own_width - left), int(height - own_height - top)
    )
    return _sane(cropping) if own_width > 0 and own_height > 0 and min(left, top) >= 0 else None


def boxes(content: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yields kind and content of every box in some bytes."""
    at = 0
    for _ in range(MOST_ELEMENTS):
        length, kind = int.from_bytes(content[at : at + 4], "big"), content[at + 4 : at + 8]
        start = at + 8
        if length == 1:
            length, start = int.from_bytes(content[start : start + 8], "big"), start + 8
        end = at + length if length else len(content)
        if len(kind) < 4 or end < start:
            return
        yield kind, content[start:end]
        at = end


def cropped(frames: Iterator[av.VideoFrame], cropping: Cropping) -> Iterator[av.VideoFrame]:
    """Yields frames without what is cut off, at whole samples of chroma; a frame that has no more than
    that as it is."""
    graph, layout = None, None
    width_cut, height_cut = cropping.left + cropping.right, cropping.top + cropping.bottom
    for frame in frames:
        if frame.width <= width_cut or frame.height <= height_cut:
            yield frame
            continue
        if layout != (frame.width, frame.height, frame.format.name):
            layout = (frame.width, frame.height, frame.format.name)
            width, height = frame.width - width_cut, frame.height - height_cut
            graph = _graph(frame, f"{width}:{height}:{cropping.left}:{cropping.top}")
        pts, time_base = frame.pts, frame.time_base
        assert graph
        graph.push(frame)
        shown: Any = graph.pull()
        shown.pts = pts
        if time_base is not None:
            shown.time_base = time_base
        yield shown


def _graph(frame: av.VideoFrame, options: str) -> Graph:
    graph = Graph()
    source = graph.add_buffer(
        width=frame.width,
        height=frame.height,
        format=frame.format,
        time_base=frame.time_base or Fraction(1, 25),
    )
    crop = graph.add("crop", options)
    source.link_to(crop)
    crop.link_to(graph.add("buffersink"))
    graph.configure()
    return graph


def _sane(cropping: Cropping) -> Cropping | None:
    return cropping if min(cropping) >= 0 and any(cropping) else None


def _of_matroska(file: BinaryIO) -> Cropping | None:
    """Of the first track that is a video."""
    is_video, found = False, dict.fromkeys(Cropping._fields, 0)
    for identifier, content in _elements(file):
        if identifier == TRACK:
            if is_video:
                break
            found = dict.fromkeys(Cropping._fields, 0)
        elif identifier == TRACK_TYPE:
            is_video = int.from_bytes(content, "big") == IS_VIDEO
        elif identifier in CROPS:
            found[CROPS[identifier]] = int.from_bytes(content, "big")
    return _sane(Cropping(**found)) if is_video else None


def _elements(file: BinaryIO) -> Iterator[tuple[int, bytes]]:
    """Yields the elements of an EBML file's tracks, and what small ones hold."""
    for _ in range(MOST_ELEMENTS):
        identifier, length = _number(file, keep_mark=True), _number(file)
        if identifier is None or length is None:
            return
        if identifier in (SEGMENT, TRACKS, TRACK, VIDEO):
            yield identifier, b""
        elif identifier in (TRACK_TYPE, *CROPS):
            yield identifier, file.read(min(length, 8))
        else:
            file.seek(length, 1)


def _number(file: BinaryIO, keep_mark: bool = False) -> int | None:
    """One of variable length: its first set bit says how many bytes it has."""
    first = file.read(1)
    if not first or not first[0]:
        return None
    bytes_more = 8 - first[0].bit_length()
    mark = 0 if keep_mark else 0x80 >> bytes_more
    return int.from_bytes(bytes([first[0] ^ mark]) + file.read(bytes_more), "big")
