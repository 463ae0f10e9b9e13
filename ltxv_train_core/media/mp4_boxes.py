"""The boxes of an mp4 or mov file: whether they hold a video, and claim more than the file can hold.

FFmpeg makes an entry of 72 bytes for every sample of a track when it opens a file, and a few bytes are
enough to claim a billion samples. Boxes: ISO/IEC 14496-12.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from ..errors import DataError
from .readable import printable

BOX_HEAD_BYTES = 8
PARENTS = (b"moov", b"trak", b"mdia", b"minf", b"stbl", b"moof", b"traf")
ITEMS, MOVIE = b"meta", b"moov"
HANDLER, DATA_HANDLER = b"hdlr", b"dhlr"
SOUND, VIDEO = b"soun", b"vide"
DESCRIPTIONS = b"stsd"
LARGEST_DESCRIPTION_BYTES = 2**20
SAMPLE_SIZES = b"stsz"
FRAGMENT_SAMPLES = b"trun"
# Each costs a read: a film in fragments of a second has some tens of thousands.
MOST_BOXES = 300_000
SOUND_SAMPLES_PER_BYTE = 4
"""QuickTime counts the samples of compressed sound as they are when decoded."""


def require_modest_tables(path: Path) -> None:
    """Raises `DataError` where a file claims more samples than it has bytes, or has too many boxes; also
    for a HEIC or AVIF picture, of which FFmpeg would give the first tile.

    A file of another kind has none of these tables.
    """
    size = path.stat().st_size
    claimed, handler = 0, b""
    has_items = has_movie = False
    with path.open("rb") as file:
        for number, (kind, start) in enumerate(_boxes(file, 0, size)):
            has_items |= kind == ITEMS
            has_movie |= kind == MOVIE
            if kind == HANDLER:
                handler = _handler(_content(file, start)) or handler
            elif kind in (SAMPLE_SIZES, FRAGMENT_SAMPLES):
                per_byte = SOUND_SAMPLES_PER_BYTE if handler == SOUND else 1
                claimed += _samples(kind, _content(file, start)) // per_byte
            if claimed > size:
                raise DataError(f"{printable(path)}: claims more frames than the file can hold")
            if number >= MOST_BOXES:
                raise DataError(f"{printable(path)}: has more than {MOST_BOXES:,} boxes")
    if has_items and not has_movie:
        raise DataError(
            f"{printable(path)}: is an image (HEIC or AVIF) with the suffix of a video: give it .heic "
            "or .avif"
        )


def first_video_description(file: BinaryIO, size: int) -> bytes:
    """How the samples of the first video track are described: the content of its first sample entry;
    nothing where there is none."""
    handler = b""
    for number, (kind, start) in enumerate(_boxes(file, 0, size)):
        if number >= MOST_BOXES:
            break
        if kind == HANDLER:
            handler = _handler(_content(file, start)) or handler
        elif kind == DESCRIPTIONS and handler == VIDEO:
            file.seek(start + BOX_HEAD_BYTES)
            length = int.from_bytes(file.read(BOX_HEAD_BYTES)[:4], "big")
            return file.read(min(max(length - BOX_HEAD_BYTES, 0), LARGEST_DESCRIPTION_BYTES))
    return b""


def _boxes(file: BinaryIO, start: int, end: int) -> Iterator[tuple[bytes, int]]:
    """Yields kind and start of content of every box, also of those in boxes."""
    ends = [end]
    while ends:
        if start + BOX_HEAD_BYTES > ends[-1]:
            start = ends.pop()
            continue
        file.seek(start)
        head = file.read(2 * BOX_HEAD_BYTES)
        length, kind, content = int.from_bytes(head[:4], "big"), head[4:8], start + BOX_HEAD_BYTES
        if length == 1:
            length, content = int.from_bytes(head[8:], "big"), start + 2 * BOX_HEAD_BYTES
        if length == 0 or start + length > ends[-1]:
            length = ends[-1] - start
        if start + length < content:
            return  # no file of this kind
        yield kind, content
        if kind in PARENTS:
            ends.append(start + length)
            start = content
        else:
            start += length


def _content(file: BinaryIO, start: int) -> bytes:
    """Where the fields of the boxes of interest are."""
    file.seek(start)
    return file.read(12)


def _handler(content: bytes) -> bytes:
    """What a track holds; nothing where QuickTime says how its data are reached."""
    return b"" if content[4:8] == DATA_HANDLER else content[8:12]


def _samples(kind: bytes, content: bytes) -> int:
    """How many samples a table claims without a size for each."""
    if kind == SAMPLE_SIZES:
        one_size, count = int.from_bytes(content[4:8], "big"), int.from_bytes(content[8:], "big")
        return count if one_size else 0
    return int.from_bytes(content[4:8], "big")
