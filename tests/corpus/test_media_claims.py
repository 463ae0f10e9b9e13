"""Media files that claim giant sizes, tables or times, and what is no file at all."""

import os
import socket
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import pytest
from PIL import Image

from ltxv_train_core.geometry import VideoSize
from ltxv_train_core.media.images import read_image
from ltxv_train_core.media.video import iterate_frames, probe, read_frames
from ltxv_train_core.preprocessing.probe_cache import FactsMemory
from tests.corpus.hostile_media import (
    LEVEL,
    animated,
    box,
    fragment,
    has_shape,
    is_grey,
    look,
    media,
    png,
    png_chunk,
    replaced,
    samples,
    write_sound,
    write_video,
)
from tests.corpus.judge import Case, judge, parameters

Make = Callable[[Path], object]
SIDES = ((13_000, 13_000), (65_535, 65_535), (2**31 - 1, 2**31 - 1), (2**31 - 1, 1), (1, 2**31 - 1))
SHORT_SIDES = ((13_000, 13_000), (65_535, 65_535), (65_535, 1), (0, 0))
WEBP_SIDES = ((16_383, 16_383), (13_000, 13_000))


def _file(name: str, make: Make, **ends: Any) -> Callable[[str], Case]:
    def prepare(folder: Path) -> Callable[[], Any]:
        path = folder / name
        make(path)
        return lambda: look(path)

    return lambda label: Case(label, prepare, **ends)


def _bytes(content: Callable[[], bytes]) -> Make:
    return lambda path: path.write_bytes(content())


def _pixels(
    name: str, make: Callable[[int, int], bytes], sides: Any, ends: str = "error"
) -> list[Case]:
    return [
        _file(name, _bytes(lambda w=w, h=h: make(w, h)), ends=ends)(f"{name} of {w}x{h}")
        for w, h in sides
    ]


def _jpeg(width: int, height: int) -> bytes:
    return replaced(media("jpg"), b"\xff\xc0", 3, struct.pack(">HH", height, width))


def _progressive(width: int, height: int) -> bytes:
    return replaced(media("progressive.jpg"), b"\xff\xc2", 3, struct.pack(">HH", height, width))


def _tiff(width: int, height: int) -> bytes:
    content = media("tif")
    for tag, value in ((256, width), (257, height)):
        entry = struct.pack("<HHI", tag, 4, 1)
        short = struct.pack("<HHI", tag, 3, 1)
        at = entry if entry in content else short
        start = content.index(at)
        content = content[:start] + entry + struct.pack("<I", value) + content[start + 12 :]
    return content


def _tiles(width: int, height: int) -> bytes:
    """A TIFF of 64x64 pixels in one tile of another size, deflated."""
    data = zlib.compress(bytes(1000))
    numbers = [(256, 64), (257, 64), (258, 8), (259, 8), (262, 1), (277, 1)]
    numbers += [(322, width), (323, height), (324, 200), (325, len(data))]
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in numbers)
    head = b"II*\0" + struct.pack("<IH", 8, len(numbers)) + entries + bytes(4)
    return head.ljust(200, b"\0") + data


def _bmp(width: int, height: int) -> bytes:
    content = media("bmp")
    return content[:18] + struct.pack("<ii", width, height) + content[26:]


def _gif(width: int, height: int) -> bytes:
    content = media("gif")
    return content[:6] + struct.pack("<HH", width, height) + content[10:]


def _webp(width: int, height: int) -> bytes:
    content = bytearray(animated("WEBP", 32, 32))
    start = content.index(b"VP8X") + 12
    content[start : start + 6] = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(
        3, "little"
    )
    return bytes(content)


def _apng(width: int, height: int) -> bytes:
    content = animated("PNG", 32, 32)
    start = content.index(b"IHDR")
    head = struct.pack(">II", width, height) + content[start + 12 : start + 17]
    return content[: start - 4] + png_chunk(b"IHDR", head) + content[start + 21 :]


def _avif(width: int, height: int) -> bytes:
    return replaced(media("avif"), b"ispe", 4, struct.pack(">II", width, height))


def _sample_entry(name: str, kind: bytes) -> Callable[[int, int], bytes]:
    return lambda w, h: replaced(media(name), kind, 24, struct.pack(">HH", w, h))


def _avi(width: int, height: int) -> bytes:
    return replaced(media("mjpeg.avi"), b"strf", 8, struct.pack("<ii", width, height))


def _strip_of_one_pixel(path: Path) -> None:
    Image.new("RGB", (1, 60_000), (LEVEL,) * 3).save(path)


def _bomb(path: Path) -> None:
    """Gigabytes of grey in megabytes: what stands in the head is true."""
    content = zlib.compress(bytes(13_001), 9) * 4
    path.write_bytes(png(13_000, 13_000, content))


def _scans(path: Path) -> None:
    """A progressive JPEG that is refined four hundred times."""
    Image.new("L", (2000, 2000), LEVEL).save(path, "JPEG", progressive=True)
    content = path.read_bytes()
    start = content.rindex(b"\xff\xda")
    path.write_bytes(content[:-2] + content[start:-2] * 400 + content[-2:])


def _text_chunk(path: Path) -> None:
    chunk = png_chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(200_000_000), 9))
    path.write_bytes(png(64, 64, zlib.compress(bytes(65 * 64)), chunk))


def _profile_chunk(path: Path) -> None:
    chunk = png_chunk(b"iCCP", b"a\0\0" + zlib.compress(bytes(200_000_000), 9))
    path.write_bytes(png(64, 64, zlib.compress(bytes(65 * 64)), chunk))


def _box_cases() -> list[Case]:
    def fields(mark: bytes, skip: int, value: bytes) -> Callable[[], bytes]:
        return lambda: replaced(media("mp4"), mark, skip, value)

    full = b"\xff\xff\xff\xff"
    contents = {
        **{f"{count:,} samples": lambda c=count: samples(c) for count in (10**6, 10**7, 5 * 10**7)},
        **{f"{count:,} samples, too": lambda c=count: samples(c) for count in (10**9, 2**32 - 1)},
        **{
            f"run of {count:,}": lambda c=count: fragment(c)
            for count in (10**6, 5 * 10**7, 2**32 - 1)
        },
        "many runs": lambda: fragment(3000, 2000),
        "stts count": fields(b"stts", 4, full),
        "stts duration 0": fields(b"stts", 12, bytes(4)),
        "stts duration": fields(b"stts", 12, full),
        "stts samples": fields(b"stts", 8, full),
        "ctts count": fields(b"ctts", 4, full),
        "ctts offsets": fields(b"ctts", 12, b"\x80\0\0\0"),
        "stsc count": fields(b"stsc", 4, full),
        "stco count": fields(b"stco", 4, full),
        "stco offset": fields(b"stco", 8, full),
        "stsz count": fields(b"stsz", 8, full),
        "stsz size": fields(b"stsz", 12, b"\x7f\xff\xff\xff"),
        "mdhd scale 0": fields(b"mdhd", 12, bytes(4)),
        "mdhd scale": fields(b"mdhd", 12, full),
        "mdhd duration": fields(b"mdhd", 16, full),
        "mvhd scale 0": fields(b"mvhd", 12, bytes(4)),
        "elst time": fields(b"elst", 12, b"\x7f\xff\xff\xff"),
        "elst rate 0": fields(b"elst", 16, bytes(4)),
        "matrix": fields(b"tkhd", 40, full * 9),
        "matrix of zeros": fields(b"tkhd", 40, bytes(36)),
        "matrix of 45 degrees": fields(
            b"tkhd", 40, struct.pack(">9i", 46341, 46341, 0, -46341, 46341, 0, 0, 0, 1 << 30)
        ),
        "unknown codec": fields(b"stsd", 8 + 4, b"zzzz"),
        "text instead of video": fields(b"hdlr", 8, b"text"),
        "profile": fields(b"avcC", 0, b"\xff" * 20),
        "boxes": lambda: media("mp4") + box(b"free", b"") * 400_000,
        "boxes first": lambda: box(b"free", b"") * 400_000 + media("mp4"),
        "nested": lambda: _nested(20_000),
        "endless box": lambda: struct.pack(">I", 0) + b"moov" + media("mp4"),
        "box of 64 bits": lambda: b"\0\0\0\1moov" + b"\xff" * 8 + media("mp4"),
        "external data": lambda: media("mp4").replace(b"url \0\0\0\1", b"url \0\0\0\0"),
    }
    return [
        _file("a.mp4", _bytes(content), right=has_shape)(f"mp4 {name}")
        for name, content in contents.items()
    ]


def _nested(depth: int) -> bytes:
    content = b""
    for _ in range(depth):
        content = box(b"moov", content) if len(content) < 2**20 else content
    return content


SIZES = [
    *_pixels("a.png", lambda w, h: png(w, h, zlib.compress(bytes(1000))), SIDES),
    *_pixels("a.jpg", _jpeg, SHORT_SIDES),
    *_pixels("progressive.jpg", _progressive, SHORT_SIDES),
    *_pixels("a.tif", _tiff, SIDES),
    *_pixels("tiles.tif", _tiles, ((65_536, 32_768), (40_000, 40_000), (2**31 - 16, 16))),
    *_pixels("a.bmp", _bmp, ((13_000, 13_000), (2**31 - 1, 2**31 - 1), (-(2**31), -(2**31)))),
    *_pixels("a.gif", _gif, SHORT_SIDES[:2]),
    *_pixels("a.webp", _webp, WEBP_SIDES),
    *_pixels("animated.png", _apng, SIDES[:3]),
    *(_pixels("a.avif", _avif, SIDES[:2])),
    *_pixels("mpeg4.mov", _sample_entry("mov", b"mp4v"), SHORT_SIDES, "either"),
    *_pixels("png.mov", _sample_entry("png.mov", b"png "), SHORT_SIDES, "either"),
    *_pixels("a.avi", _avi, ((65_535, 65_535), (2**31 - 1, 2**31 - 1)), "either"),
    _file("bomb.png", _bomb, ends="error", says=("13000x13000",))("13,000 by 13,000 in truth"),
    _file("strip.png", _strip_of_one_pixel, ends="error", says=("narrow",))("a strip of one pixel"),
    _file("scans.jpg", _scans, ends="error", says=("scans",))("hundreds of scans"),
    _file("text.png", _text_chunk)("a text of 200 MB"),
    _file("profile.png", _profile_chunk)("a profile of 200 MB"),
]


def _rate(rate: int) -> Make:
    return lambda path: write_video(
        path, change=lambda s: setattr(s.codec_context, "framerate", rate)
    )


def _times(*times: int) -> Make:
    return lambda path: write_video(path, times=list(times))


def _two_sizes(path: Path) -> None:
    """A transport stream of two: the size changes in the middle."""
    parts = []
    for number, (width, height) in enumerate(((96, 64), (320, 240))):
        part = path.with_name(f"part{number}.ts")
        write_video(part, width=width, height=height)
        parts.append(part.read_bytes())
    path.write_bytes(b"".join(parts))


def _two_formats(path: Path) -> None:
    parts = []
    for number, (codec, pixel_format) in enumerate(
        (("libx264", "yuv420p"), ("libx264", "yuv444p10le"))
    ):
        part = path.with_name(f"part{number}.ts")
        write_video(part, codec, pixel_format)
        parts.append(part.read_bytes())
    path.write_bytes(b"".join(parts))


def _tiny_frames(path: Path) -> None:
    write_video(path, "rawvideo", "yuv420p", width=2, height=2, times=list(range(5_000)))


def _aspect(numerator: int, denominator: int) -> Make:
    from fractions import Fraction

    ratio = Fraction(numerator, denominator)
    return lambda path: write_video(
        path, change=lambda s: setattr(s.codec_context, "sample_aspect_ratio", ratio)
    )


def _transport_noise(path: Path) -> None:
    """Valid heads of packets with nothing in them."""
    path.write_bytes(media("ts") + (b"\x47\x1f\xff\x10" + bytes(184)) * 100_000)


def _no_frames(path: Path) -> None:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
        container.mux(stream.encode(None))


STREAMS = [
    _file("sound.mp4", write_sound, ends="error", says=("holds no video",))("sound alone"),
    _file("sound.mkv", write_sound, ends="error", says=("holds no video",))("sound alone in mkv"),
    _file("cover.mp4", lambda p: write_sound(p, cover=True), ends="error")("sound with a cover"),
    _file("none.mp4", _no_frames, ends="error")("a video of no frames"),
    _file("sizes.ts", _two_sizes, right=has_shape)("two sizes"),
    _file("formats.ts", _two_formats, right=has_shape)("two formats of pixels"),
    _file("tiny.avi", _tiny_frames, right=has_shape)("5,000 frames of four pixels"),
    _file("empty.ts", _transport_noise, right=has_shape)("packets of nothing"),
    _file("wide.mp4", _aspect(10_000, 1))("very wide pixels"),
    _file("high.mp4", _aspect(1, 10_000))("very high pixels"),
    _file("gap.mkv", _times(*range(0, 20, 2), 10**9), right=has_shape)("a gap of months"),
    _file("late.mkv", _times(*range(10**9, 10**9 + 34, 2)), right=has_shape)("a late start"),
    _file("negative.mkv", _times(*range(-40, 0, 2)), right=has_shape)("negative times"),
    _file("fast.mp4", _rate(10**6))("a million frames per second"),
    *_box_cases(),
]


def _doors(make: Make, name: str) -> list[Case]:
    """A special file through every door."""

    def case(door: str, action: Callable[[Path], Any]) -> Case:
        def prepare(folder: Path) -> Callable[[], Any]:
            path = folder / name
            make(path)
            return lambda: action(path)

        return Case(f"{make.__name__.strip('_')} as {name} to {door}", prepare, "error")

    size = VideoSize(32, 32, 1)
    return [
        case("probe", probe),
        case("read_frames", lambda path: read_frames(path, size)),
        case("iterate_frames", lambda path: list(iterate_frames(path))),
        case("read_image", read_image),
        case("facts", lambda path: FactsMemory(path.parent).of(path)),
    ]


def _pipe(path: Path) -> None:
    os.mkfifo(path)


def _link_to_zeros(path: Path) -> None:
    path.symlink_to("/dev/zero")


def _link_to_nothing(path: Path) -> None:
    path.symlink_to("/dev/null")


def _link_to_itself(path: Path) -> None:
    path.symlink_to(path)


def _socket(path: Path) -> None:
    place = Path.cwd()
    os.chdir(path.parent)  # its path may have 107 bytes
    try:
        socket.socket(socket.AF_UNIX).bind(path.name)
    finally:
        os.chdir(place)


def _folder(path: Path) -> None:
    path.mkdir()


def _absent(path: Path) -> None:
    pass


def _hole(path: Path) -> None:
    path.touch()
    os.truncate(path, 20 * 10**9)


def _film_and_hole(path: Path) -> None:
    kind = "png" if path.suffix == ".png" else path.suffix.removeprefix(".")
    path.write_bytes(media(kind))
    os.truncate(path, 20 * 10**9)


SPECIAL = [
    case
    for make in (
        _pipe,
        _link_to_zeros,
        _link_to_nothing,
        _link_to_itself,
        _socket,
        _folder,
        _absent,
    )
    for name in ("a.mp4", "a.png")
    for case in _doors(make, name)
] + [
    case
    for make, names in (
        (_hole, ("a.mp4", "a.png", "a.ts")),
        (_film_and_hole, ("a.mp4", "a.png", "a.ts", "a.mkv")),
    )
    for name in names
    for case in _doors(make, name)
]

NAMES = [
    "%d.mp4",
    "%03d.mkv",
    "concat:a.mp4",
    "http:a.mp4",
    "file:a.mp4",
    "data:a.mp4",
    "subfile,,start,0,end,9,,:a.mp4",
    "crypto+file:a.mp4",
    "async:cache:a.mp4",
    "a|b.mp4",
    "*.mp4",
    "a\nb.mp4",
    "a\x1b[31mb.mp4",
    "-i.mp4",
    "'a' \"b\".mp4",
    "é" * 120 + ".mp4",
    ".mp4.mp4",
    "a.mp4 ",
    "A.MP4",
    "pipe:0.mp4",
]


def _named(name: str) -> Case:
    def prepare(folder: Path) -> Callable[[], Any]:
        (folder / name).write_bytes(media("mp4"))

        def action() -> Any:
            before = Path.cwd()
            os.chdir(folder)
            try:
                return look(Path(name))
            finally:
                os.chdir(before)

        return action

    return Case(f"name {name[:40]!r}", prepare, "value", right=is_grey)


def _surrogate() -> Case:
    def prepare(folder: Path) -> Callable[[], Any]:
        path = Path(os.fsdecode(os.fsencode(folder) + b"/\xff\xfe.mp4"))
        path.write_bytes(media("mp4")[:500])
        return lambda: look(path)

    return Case("name of no text", prepare, "error")


@pytest.mark.parametrize("case", parameters(SIZES, sampled=8))
def test_sizes(case, tmp_path):
    judge(case, tmp_path)


@pytest.mark.parametrize("case", parameters(STREAMS, sampled=8))
def test_streams(case, tmp_path):
    judge(case, tmp_path)


@pytest.mark.parametrize("case", parameters(SPECIAL, sampled=8))
def test_special_files(case, tmp_path):
    judge(case, tmp_path)


@pytest.mark.parametrize("case", parameters([*map(_named, NAMES), _surrogate()], sampled=4))
def test_names(case, tmp_path):
    judge(case, tmp_path)
