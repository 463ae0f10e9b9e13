"""Primaries and transfer that a PNG, HEIC or AVIF picture states by number (ITU-T H.273), and what is cut
off it.

PNG: its chunk cICP. HEIC and AVIF: the box `colr` of the picture itself (ISO/IEC 23008-12), not that of
another item, as a map of gain has one of its own.
"""

from dataclasses import dataclass
from pathlib import Path

from ..errors import DataError
from .animated import PNG_HEAD, chunks
from .cropping import Cropping, aperture, boxes
from .readable import printable

# The boxes that describe a picture stand at the front.
MOST_BOX_BYTES = 2**20
_MOST_PARTS = 10_000
SIGNATURE_BYTES = 12


@dataclass(frozen=True)
class StatedColors:
    """Numbers of ITU-T H.273 for the primaries and the transfer function of an image."""

    primaries: int
    transfer: int


def stated_colors(path: Path) -> StatedColors | None:
    """None where none are stated, or what states them is damaged."""
    with path.open("rb") as file:
        head = file.read(SIGNATURE_BYTES)
        if head.startswith(PNG_HEAD):
            for kind, content in chunks(path, file, len(PNG_HEAD), "big"):
                if kind == b"cICP":
                    return StatedColors(content[0], content[1]) if len(content) > 1 else None
                if kind == b"IDAT":
                    return None
        elif head[4:8] == b"ftyp":
            file.seek(0)
            return _of_items(file.read(MOST_BOX_BYTES))
    return None


def require_whole_data(path: Path) -> None:
    """Raises `DataError` where the data of a HEIC or AVIF end with the file before they should: libheif
    leaves missing tiles green."""
    size, start = path.stat().st_size, 0
    with path.open("rb") as file:
        for _ in range(_MOST_PARTS):
            file.seek(start)
            head = file.read(16)
            length, kind = int.from_bytes(head[:4], "big"), head[4:8]
            length = int.from_bytes(head[8:16], "big") if length == 1 else length
            if kind == b"mdat" and start + length > size:
                raise DataError(
                    f"{printable(path)}: can't be read as a video or image (is cut off: of "
                    f"{start + length:,} bytes {size:,} are there)"
                )
            if length < 8:
                return
            start += length


def cropping_of_picture(path: Path, width: int, height: int) -> Cropping | None:
    """What a HEIC or AVIF picture of a size says is cut off it (`clap`); None where nothing is."""
    with path.open("rb") as file:
        content = file.read(MOST_BOX_BYTES)
    claps = (box for kind, box in _primary_properties(content) if kind == b"clap")
    return next((aperture(box, width, height) for box in claps), None)


def _of_items(content: bytes) -> StatedColors | None:
    for kind, box in _primary_properties(content):
        if kind == b"colr" and box[:4] == b"nclx" and len(box) >= 10:
            return StatedColors(int.from_bytes(box[4:6], "big"), int.from_bytes(box[6:8], "big"))
    return None


def _primary_properties(content: bytes) -> list[tuple[bytes, bytes]]:
    """Kinds and contents of what is said of the picture itself."""
    meta = _first(content, b"meta")[4:]
    properties, primary = _first(meta, b"iprp"), _first(meta, b"pitm")
    item = int.from_bytes(primary[4 : 6 if primary[:1] == b"\0" else 8], "big")
    kinds = list(boxes(_first(properties, b"ipco")))
    numbers = _properties_of(item, _first(properties, b"ipma"))
    return [kinds[number - 1] for number in numbers if 0 < number <= len(kinds)]


def _properties_of(wanted: int, table: bytes) -> list[int]:
    """Numbers, from 1 on, of the properties of an item."""
    version, is_wide = table[:1], bool(table[3:4] and table[3] & 1)
    id_bytes, at = (2 if version == b"\0" else 4), 8
    for _ in range(min(int.from_bytes(table[4:8], "big"), _MOST_PARTS)):
        item, at = int.from_bytes(table[at : at + id_bytes], "big"), at + id_bytes
        count, at = int.from_bytes(table[at : at + 1], "big"), at + 1
        width = 2 if is_wide else 1
        numbers = [table[at + i * width : at + (i + 1) * width] for i in range(count)]
        at += count * width
        if item == wanted:
            essential = 0x8000 if is_wide else 0x80
            return [int.from_bytes(number, "big") & ~essential for number in numbers]
    return []


def _first(content: bytes, wanted: bytes) -> bytes:
    """What is in the first box of a kind; nothing where there is none."""
    return next((box for kind, box in boxes(content) if kind == wanted), b"")
