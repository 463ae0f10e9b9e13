"""Animated WebP and PNG: when each picture is shown, found without decoding one.

WebP: RFC 9649. PNG: the third edition of its specification (acTL, fcTL).
"""

from collections.abc import Iterator
from itertools import accumulate
from pathlib import Path
from typing import BinaryIO, Literal

from ..errors import DataError
from .formats import is_image
from .readable import printable

TICKS_PER_SECOND = 1_000_000
SHORTEST_TICKS, INSTEAD_TICKS = 10_000, 100_000
"""Browsers show a picture that is meant for 10 ms or less for 100 ms."""
# Each costs a read: a file of empty chunks would take minutes.
MOST_CHUNKS = 100_000
# Of RIFF, its size, WEBP and the chunk VP8X.
ANIMATION_HEAD_BYTES = 40
PNG_HEAD = b"\x89PNG\r\n\x1a\n"
WEBP_FLAGS, WEBP_ANIMATION = 20, 0x02


def shown_at(path: Path) -> list[int]:
    """When each picture of an animation is shown, and when the last one ends, in ticks.

    Returns:
        Nothing for a still picture and for files of other formats.

    Raises:
        DataError: it has too many parts.
    """
    with path.open("rb") as file:
        head = file.read(ANIMATION_HEAD_BYTES)
        if head.startswith(PNG_HEAD):
            durations = _png_durations(path, file)
        elif head[8:16] == b"WEBPVP8X" and head[WEBP_FLAGS] & WEBP_ANIMATION:
            durations = _webp_durations(path, file)
        else:
            return []
    shown = (ticks if ticks > SHORTEST_TICKS else INSTEAD_TICKS for ticks in durations)
    return list(accumulate(shown, initial=0)) if len(durations) > 1 else []


def is_still(path: Path) -> bool:
    """Whether a file is a picture that doesn't move. Raises as `shown_at`."""
    return is_image(path) and not shown_at(path)


def _webp_durations(path: Path, file: BinaryIO) -> list[int]:
    parts = chunks(path, file, 12, "little")
    return [1000 * int.from_bytes(head[12:15], "little") for kind, head in parts if kind == b"ANMF"]


def _png_durations(path: Path, file: BinaryIO) -> list[int]:
    durations, is_animated = [], False
    for kind, head in chunks(path, file, len(PNG_HEAD), "big"):
        is_animated |= kind == b"acTL"
        if kind == b"IDAT" and not is_animated:
            return []
        if kind == b"fcTL":
            count, of = int.from_bytes(head[20:22], "big"), int.from_bytes(head[22:24], "big")
            durations.append(TICKS_PER_SECOND * count // (of or 100))
    return durations


def chunks(
    path: Path, file: BinaryIO, start: int, order: Literal["big", "little"]
) -> Iterator[tuple[bytes, bytes]]:
    """Yields the kind of every chunk, and how it begins."""
    kind_at, length_at = (4, 0) if order == "big" else (0, 4)
    for _ in range(MOST_CHUNKS):
        file.seek(start)
        head = file.read(ANIMATION_HEAD_BYTES)
        if len(head) < 8:
            return
        length = int.from_bytes(head[length_at : length_at + 4], order)
        yield head[kind_at : kind_at + 4], head[8:]
        start += 8 + (length + 4 if order == "big" else length + length % 2)
    raise DataError(f"{printable(path)}: has more than {MOST_CHUNKS:,} parts: save it as a video")
