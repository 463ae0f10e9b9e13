"""What a container or a stream cuts off a picture is not shown."""

import struct
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image, features

from ltxv_train_core.geometry import VideoSize
from ltxv_train_core.media.cropping import Cropping, cropped
from ltxv_train_core.media.images import read_image
from ltxv_train_core.media.info import Selection
from ltxv_train_core.media.video import iterate_frames, probe, read_frames
from tests.core.media.quarters import SHOWN, letters_of, quarters
from tests.core.media.test_orientation import MATRICES, set_matrix
from tests.core.media.test_video import encode

# A picture of 96x64 in black bars: 16 left, 48 right, 8 above, 24 below.
LEFT, TOP, RIGHT, BOTTOM = 16, 8, 48, 24


def in_bars() -> np.ndarray:
    whole = np.zeros((64 + TOP + BOTTOM, 96 + LEFT + RIGHT, 3), np.uint8)
    whole[TOP:-BOTTOM, LEFT:-RIGHT] = quarters()
    return whole


def clap(width: int, height: int, right: tuple[int, int], down: tuple[int, int]) -> bytes:
    numbers = (width, 1, height, 1, *right, *down)
    return struct.pack(">I4s8i", 40, b"clap", *numbers)


SEGMENT, INFO, TRACKS = b"\x18\x53\x80\x67", b"\x15\x49\xa9\x66", b"\x16\x54\xae\x6b"
CLAP = clap(96, 64, ((LEFT - RIGHT), 2), ((TOP - BOTTOM), 2))


def insert_box(path: Path, box: bytes) -> None:
    """Puts a box into the sample description of an mp4 whose index is at its end."""
    content = bytearray(path.read_bytes())
    at = content.index(b"avc1", content.index(b"stsd")) + 4 + 78
    for parent in (b"moov", b"trak", b"mdia", b"minf", b"stbl", b"stsd", b"avc1"):
        place = content.index(parent, content.index(b"moov")) - 4
        (length,) = struct.unpack_from(">I", content, place)
        struct.pack_into(">I", content, place, length + len(box))
    assert content.index(b"moov") > content.index(b"mdat")
    path.write_bytes(content[:at] + box + content[at:])


def element(identifier: int, content: bytes) -> bytes:
    head = identifier.to_bytes((identifier.bit_length() + 7) // 8, "big")
    return head + struct.pack(">Q", len(content) | 1 << 56) + content


def insert_crop(path: Path, crops: dict[int, int]) -> None:
    """Puts PixelCrop* into the first track of a Matroska file, and leaves out its table of contents."""
    content = path.read_bytes()
    info = content.index(INFO, content.index(INFO) + 4)
    tracks = content.index(TRACKS, info)
    first = inside(content, tracks + 4)[0]
    first += 6 if content[first] == 0xBF else 0  # a checksum, of random numbers among others
    assert content[first] == 0xAE
    track = first
    video = content.index(b"\xe0", content.index(b"\x83\x81\x01", track))
    _, tracks_end = inside(content, tracks + 4)
    track_start, track_end = inside(content, track + 1)
    video_start, video_end = inside(content, video + 1)
    more = b"".join(element(kind, bytes([pixels])) for kind, pixels in crops.items())
    entry = content[track_start:video] + element(0xE0, content[video_start:video_end] + more)
    entry += content[video_end:track_end]
    # The segment is of unknown length, so that nothing has to be counted anew.
    head = content[: content.index(SEGMENT) + 4] + b"\x01" + b"\xff" * 7 + content[info:tracks]
    whole = element(int.from_bytes(TRACKS, "big"), element(0xAE, entry))
    path.write_bytes(head + whole + content[tracks_end:])


def inside(content: bytes, at: int) -> tuple[int, int]:
    """Where the content of an element begins and ends, whose length stands at a place."""
    length_bytes = 9 - content[at].bit_length()
    length = int.from_bytes(content[at : at + length_bytes], "big") ^ 1 << 7 * length_bytes
    return at + length_bytes, at + length_bytes + length


def assert_cropped(path: Path, letters: str = "RGBW") -> None:
    info = probe(path)
    assert (info.width, info.height, info.traits) == (96, 64, ("cropped",))
    size = VideoSize(96, 64, 1)
    for frame in (
        next(iter(iterate_frames(path))),
        read_frames(path, size)[0],
        read_frames(path, size, Selection(start=5))[0],
        read_frames(path, size, Selection(start=1, fps=10))[0],
    ):
        assert frame.shape == (64, 96, 3)
        assert letters_of(frame) == letters
        for row in (frame[0], frame[-1], frame[:, 0], frame[:, -1]):
            assert row.max(axis=-1).min() >= 60  # none of the bars is left


@pytest.mark.parametrize("suffix", [".mp4", ".mov"])
def test_the_clean_aperture_of_an_mp4(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    encode(path, np.stack([in_bars()] * 12))
    insert_box(path, CLAP)
    assert_cropped(path)


def test_it_is_cut_before_the_picture_is_turned(tmp_path):
    encode(tmp_path / "a.mp4", np.stack([in_bars()] * 12))
    insert_box(tmp_path / "a.mp4", CLAP)
    set_matrix(tmp_path / "a.mp4", MATRICES[6])
    info = probe(tmp_path / "a.mp4")
    assert (info.width, info.height) == (64, 96)
    assert info.traits == ("turned", "cropped")
    assert letters_of(next(iter(iterate_frames(tmp_path / "a.mp4")))) == SHOWN[6]


@pytest.mark.parametrize(
    "box",
    [
        clap(96 + LEFT + RIGHT, 64 + TOP + BOTTOM, (0, 1), (0, 1)),  # all of it
        clap(400, 64, (0, 1), (0, 1)),
        clap(96, 64, (1, 0), (0, 1)),
        clap(0, 64, (0, 1), (0, 1)),
        clap(96, 64, (-500, 1), (0, 1)),
    ],
)
def test_an_aperture_that_cuts_nothing_or_cannot_be_counts_as_none(tmp_path, box):
    encode(tmp_path / "a.mp4", np.stack([in_bars()] * 12))
    insert_box(tmp_path / "a.mp4", box)
    info = probe(tmp_path / "a.mp4")
    assert (info.width, info.height, info.traits) == (160, 96, ())


@pytest.mark.parametrize("suffix", [".mkv", ".webm"])
def test_what_matroska_crops(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    codec = "libvpx" if suffix == ".webm" else "libx264"
    encode(path, np.stack([in_bars()] * 12), codec=codec)
    insert_crop(path, {0x54CC: LEFT, 0x54BB: TOP, 0x54DD: RIGHT, 0x54AA: BOTTOM})
    assert_cropped(path)


def test_the_display_size_of_matroska_is_that_of_what_is_left(tmp_path):
    """As mkvmerge writes both (RFC 9559, 11.1)."""
    path = tmp_path / "a.mkv"
    encode(path, np.stack([in_bars()] * 12))
    crops = {0x54CC: LEFT, 0x54BB: TOP, 0x54DD: RIGHT, 0x54AA: BOTTOM}
    insert_crop(path, crops | {0x54B0: 96, 0x54BA: 64})
    in_pixels = path.read_bytes().replace(b"\x54\xb2\x81\x04", b"\x54\xb2\x81\x00")
    assert in_pixels != path.read_bytes()
    path.write_bytes(in_pixels)
    assert_cropped(path)


def test_a_frame_that_would_be_cut_away_is_left_whole():
    frames = iter([av.VideoFrame(160, 96, "yuv420p"), av.VideoFrame(64, 32, "yuv420p")])
    sizes = [(f.width, f.height) for f in cropped(frames, Cropping(LEFT, TOP, RIGHT, BOTTOM))]
    assert sizes == [(96, 64), (64, 32)]


def test_a_decoder_cuts_off_what_fills_its_last_blocks(tmp_path):
    """1080 lines are coded as 1088."""
    frames = np.zeros((2, 1080, 1920, 3), np.uint8)
    frames[:, -2:] = 255
    encode(tmp_path / "a.mp4", frames)
    info = probe(tmp_path / "a.mp4")
    assert (info.width, info.height) == (1920, 1080)
    assert "cropped" not in info.traits
    frame = next(iter(iterate_frames(tmp_path / "a.mp4")))
    assert frame[-1].min() >= 240
    assert frame[-5].max() <= 20


@pytest.mark.skipif(not features.check("avif"), reason="this Pillow has no AVIF")
def test_the_clean_aperture_of_an_avif(tmp_path):
    path = tmp_path / "a.avif"
    Image.fromarray(in_bars()).save(path, quality=95)
    content = bytearray(path.read_bytes())
    path.write_bytes(with_clap(content))
    info = probe(path)
    assert (info.width, info.height, info.traits) == (96, 64, ("cropped",))
    shown = read_image(path)
    assert letters_of(shown) == "RGBW"
    assert shown[0].max(axis=-1).min() >= 100


def with_clap(content: bytearray) -> bytearray:
    """Puts the aperture in the place of the fourth property, the colours, and moves what lies behind."""
    numbers = content.index(b"\x01\x02\x83\x04", content.index(b"ipma"))
    content[numbers + 3] |= 0x80  # readers must know it
    place = content.index(b"colr") - 4
    (length,) = struct.unpack_from(">I", content, place)
    more = len(CLAP) - length
    for parent in (b"meta", b"iprp", b"ipco"):
        at = content.index(parent) - 4
        struct.pack_into(">I", content, at, struct.unpack_from(">I", content, at)[0] + more)
    content[place : place + length] = CLAP
    extent = content.index(b"iloc") + 4
    version = content[extent]
    assert version == 0, version
    # version, flags, sizes, count, id, reference, extents, offset, length
    sizes = content[extent + 4]
    assert sizes >> 4 == 4, sizes
    at = extent + 8 + 2 + 2 + 2
    struct.pack_into(">I", content, at, struct.unpack_from(">I", content, at)[0] + more)
    return content
