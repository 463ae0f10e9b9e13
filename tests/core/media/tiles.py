"""HEIC and AVIF pictures of tiles, as phones write them (ISO/IEC 23008-12, 6.6.2.3): put together of four
pictures of one item each."""

import io
import struct

import numpy as np
from PIL import Image

from ltxv_train_core.media.cropping import boxes

SETUPS = {"AVIF": (b"av01", b"av1C", b"avif"), "HEIF": (b"hvc1", b"hvcC", b"heic")}
PRIMARY = 5


def box(kind: bytes, *content: bytes) -> bytes:
    whole = b"".join(content)
    return struct.pack(">I", 8 + len(whole)) + kind + whole


def full(kind: bytes, *content: bytes, version: int = 0) -> bytes:
    return box(kind, bytes([version, 0, 0, 0]), *content)


def in_tiles(picture: np.ndarray, reader: str, properties: tuple[bytes, ...] = ()) -> bytes:
    """A file that holds the quarters of a picture as tiles.

    Args:
        picture: uint8 RGB [H, W, 3]; both even, and at least 128.
        reader: AVIF or HEIF.
        properties: boxes that are said of the whole.
    """
    kind, setup_kind, brand = SETUPS[reader]
    height, width = (side // 2 for side in picture.shape[:2])
    parts = [picture[y : y + height, x : x + width] for y in (0, height) for x in (0, width)]
    tiles = [_encoded(part, reader) for part in parts]
    setup, _ = tiles[0]
    assert all(own == setup for own, _ in tiles)
    shared = (
        box(setup_kind, setup),
        full(b"ispe", struct.pack(">II", width, height)),
        full(b"pixi", bytes([3, 8, 8, 8])),
        full(b"ispe", struct.pack(">II", 2 * width, 2 * height)),
        *properties,
    )
    of_tile, of_whole = (0x81, 2, 3), (4, 3, *(0x80 | 5 + n for n in range(len(properties))))
    owned = [*((n, of_tile) for n in range(1, PRIMARY)), (PRIMARY, of_whole)]
    associations = b"".join(struct.pack(">HB", n, len(own)) + bytes(own) for n, own in owned)
    grid = bytes([0, 0, 1, 1]) + struct.pack(">HH", 2 * width, 2 * height)
    kinds = [kind] * 4 + [b"grid"]
    infos = [
        full(b"infe", struct.pack(">HH", n, 0), name, b"\0", version=2)
        for n, name in enumerate(kinds, start=1)
    ]
    head = box(b"ftyp", brand, bytes(4), b"mif1", brand, b"miaf")

    def meta(starts: list[int]) -> bytes:
        places = [
            struct.pack(">HHHHII", n, 0, 0, 1, start, len(data))
            for n, (start, (_, data)) in enumerate(zip(starts, tiles, strict=True), start=1)
        ]
        places.append(struct.pack(">HHHHII", PRIMARY, 1, 0, 1, 0, len(grid)))
        return full(
            b"meta",
            full(b"hdlr", bytes(4), b"pict", bytes(13)),
            full(b"pitm", struct.pack(">H", PRIMARY)),
            full(b"iloc", bytes([0x44, 0]), struct.pack(">H", 5), *places, version=1),
            full(b"iinf", struct.pack(">H", 5), *infos),
            full(b"iref", box(b"dimg", struct.pack(">HH4H", PRIMARY, 4, 1, 2, 3, 4))),
            box(
                b"iprp",
                box(b"ipco", *shared),
                full(b"ipma", struct.pack(">I", 5), associations),
            ),
            box(b"idat", grid),
        )

    first = len(head) + len(meta([0] * 4)) + 8
    lengths = [len(data) for _, data in tiles]
    starts = [first + sum(lengths[:n]) for n in range(4)]
    return head + meta(starts) + box(b"mdat", *(data for _, data in tiles))


def _encoded(part: np.ndarray, reader: str) -> tuple[bytes, bytes]:
    """A setup and the data of a picture of one item."""
    file = io.BytesIO()
    Image.fromarray(part).save(file, reader, quality=95)
    found = dict(boxes(file.getvalue()))
    properties = dict(boxes(dict(boxes(dict(boxes(found[b"meta"][4:]))[b"iprp"]))[b"ipco"]))
    return properties[SETUPS[reader][1]], found[b"mdat"]
