"""Media files cut off, with flipped bits, under other names: one clear error each, or right frames."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ltxv_train_core.media.formats import FORMATS
from tests.corpus.hostile_media import NAMES, has_shape, is_grey, look, media, suffix
from tests.corpus.judge import Case, judge, parameters, seeded

CUTS = (0.0, 0.001, 0.1, 0.3, 0.5, 0.7, 0.9, 0.999)
FLIPS = 6
HEAD_BYTES = 400
SWAPPED = ("mp4", "mkv", "avi", "gif", "ts", "png", "jpg", "webp", "tif", "bmp")
TEXTS = {
    "concat": "ffconcat version 1.0\nfile 'other.mp4'\n",
    "playlist": "#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:1,\nother.mp4\n#EXT-X-ENDLIST\n",
    "sdp": "v=0\no=- 0 0 IN IP4 127.0.0.1\nc=IN IP4 127.0.0.1\nm=video 5004 RTP/AVP 96\n",
    "dash": '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011"><Period/></MPD>',
    "postscript": "%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 64 64\n(x) (w) file\nshowpage\n",
    "svg": '<svg xmlns="http://www.w3.org/2000/svg" width="64" height="64"/>',
    "subtitles": "1\n00:00:01,000 --> 00:00:02,000\nHello\n",
    "xpm": '/* XPM */\nstatic char *a[] = {"2 2 1 1", "a c #000000", "aa", "aa"};\n',
    "ppm": "P6\n64 64\n255\n" + "a" * (64 * 64 * 3),
    "image list": "other-%d.png\nother-1.png\n",
    "metadata": ";FFMETADATA1\ntitle=a\n",
    "y4m": "YUV4MPEG2 W16 H16 F25:1\nFRAME\n" + "a" * 384,
}


def _files(name: str, content: Callable[[], bytes]) -> Callable[[Path], Callable[[], Any]]:
    def prepare(folder: Path) -> Callable[[], Any]:
        path = folder / f"a{suffix(name)}"
        path.write_bytes(content())
        (folder / "other.mp4").write_bytes(media("mp4"))
        (folder / "other-1.png").write_bytes(media("png"))
        return lambda: look(path)

    return prepare


def _cut(name: str, share: float) -> Case:
    def content() -> bytes:
        return media(name)[: int(len(media(name)) * share)]

    return Case(f"cut {name} at {share}", _files(name, content), right=has_shape)


def _flipped(name: str, number: int) -> Case:
    def content() -> bytes:
        random, damaged = seeded("flip", name, number), bytearray(media(name))
        for _ in range(1 + number):
            damaged[random.randrange(min(HEAD_BYTES * (1 + number % 3), len(damaged)))] ^= (
                1 << random.randrange(8)
            )
        return bytes(damaged)

    return Case(f"flip {name} {number}", _files(name, content), right=has_shape)


def _noise(name: str, number: int) -> Case:
    def content() -> bytes:
        random, damaged = seeded("noise", name, number), bytearray(media(name))
        start = random.randrange(len(damaged))
        length = min(random.choice((4, 64, 1000)), len(damaged) - start)
        damaged[start : start + length] = random.choice(
            (bytes(length), b"\xff" * length, random.randbytes(length))
        )
        return bytes(damaged)

    return Case(f"noise {name} {number}", _files(name, content), right=has_shape)


DAMAGE = [
    *(_cut(name, share) for name in NAMES for share in CUTS),
    *(_flipped(name, number) for name in NAMES for number in range(FLIPS)),
    *(_noise(name, number) for name in NAMES for number in range(FLIPS)),
]
WHOLE = [
    Case(name, _files(name, lambda n=name: media(n)), "value", right=is_grey) for name in NAMES
]
SWAPS = [
    Case(
        f"{name} as {other}",
        _files(other, lambda n=name: media(n)),
        "value" if FORMATS[suffix(name)].kind == FORMATS[suffix(other)].kind else "error",
        right=is_grey,
    )
    for name in SWAPPED
    for other in SWAPPED
    if name != other
]
HOSTILE = [
    Case(f"{kind} as {ending}", _files(ending, lambda k=kind: TEXTS[k].encode()), "error")
    for kind in TEXTS
    for ending in sorted(name.removeprefix(".") for name in FORMATS)
]


@pytest.mark.parametrize("case", parameters(DAMAGE, sampled=20))
def test_damaged_media(case, tmp_path):
    judge(case, tmp_path)


@pytest.mark.parametrize("case", parameters(WHOLE, sampled=6))
def test_whole_media(case, tmp_path):
    judge(case, tmp_path)


@pytest.mark.parametrize("case", parameters(SWAPS, sampled=8))
def test_media_under_the_suffix_of_others(case, tmp_path):
    judge(case, tmp_path)


@pytest.mark.parametrize("case", parameters(HOSTILE, sampled=12))
def test_texts_under_suffixes_of_media(case, tmp_path):
    judge(case, tmp_path)
