"""Pictures and videos are turned and mirrored as players show them."""

import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import ExifTags, Image, features

from ltxv_train_core.geometry import VideoSize
from ltxv_train_core.media.info import Selection
from ltxv_train_core.media.video import iterate_frames, probe, read_frames
from tests.core.media.quarters import SHOWN, letters_of, quarters
from tests.core.media.test_video import VideoStream, encode

ONE = 1 << 16
MATRICES = {
    1: (ONE, 0, 0, ONE),
    2: (-ONE, 0, 0, ONE),
    3: (-ONE, 0, 0, -ONE),
    4: (ONE, 0, 0, -ONE),
    5: (0, ONE, ONE, 0),
    6: (0, ONE, -ONE, 0),
    7: (0, -ONE, -ONE, 0),
    8: (0, -ONE, ONE, 0),
}
"""a, b, c, d of x' = a x + c y, y' = b x + d y."""


def set_matrix(path: Path, matrix: tuple[int, ...]) -> None:
    """Writes a display matrix into the track header of an mp4 (ISO/IEC 14496-12, 8.3.2)."""
    content = bytearray(path.read_bytes())
    a, b, c, d = matrix
    struct.pack_into(">9i", content, content.index(b"tkhd") + 44, a, b, 0, c, d, 0, 0, 0, 1 << 30)
    path.write_bytes(content)


def clip(path: Path, count: int = 12) -> None:
    encode(path, np.stack([quarters()] * count))


@pytest.mark.parametrize("orientation", MATRICES)
@pytest.mark.parametrize("suffix", [".mp4", ".mov"])
def test_a_video_is_shown_by_its_whole_display_matrix(tmp_path, orientation, suffix):
    path = tmp_path / f"a{suffix}"
    clip(path)
    set_matrix(path, MATRICES[orientation])
    info = probe(path)
    turned = orientation >= 5
    assert (info.width, info.height) == ((64, 96) if turned else (96, 64))
    assert info.traits == {1: (), 3: ("turned",), 6: ("turned",), 8: ("turned",)}.get(
        orientation, ("mirrored",)
    )
    whole = next(iter(iterate_frames(path)))
    size = VideoSize(*((64, 96) if turned else (96, 64)), 1)
    part = read_frames(path, size, Selection(start=5))[0]
    resampled = read_frames(path, size, Selection(start=1, fps=10))[0]
    assert {letters_of(frame) for frame in (whole, part, resampled)} == {SHOWN[orientation]}


@pytest.mark.parametrize("matrix", [(0, 0, 0, 0), (ONE, ONE // 8, -ONE // 8, ONE)])
def test_other_angles_are_brought_to_the_nearest_quarter(tmp_path, matrix):
    clip(tmp_path / "a.mp4", 2)
    set_matrix(tmp_path / "a.mp4", matrix)
    assert letters_of(next(iter(iterate_frames(tmp_path / "a.mp4")))) == "RGBW"


@pytest.mark.skipif(
    not hasattr(VideoStream, "set_display_matrix"), reason="this PyAV writes no display matrix"
)
@pytest.mark.parametrize("orientation", [2, 3, 6, 8])
def test_matroska_says_it_as_a_projection(tmp_path, orientation):
    path = tmp_path / "a.mkv"
    a, b, c, d = MATRICES[orientation]
    matrix = [a, b, 0, c, d, 0, 0, 0, 1 << 30]
    encode(path, np.stack([quarters()] * 2), matrix=matrix)
    assert letters_of(next(iter(iterate_frames(path)))) == SHOWN[orientation]


SUFFIXES = [".jpg", ".jfif", ".png", ".webp", ".tiff", ".avif", ".heic"]


@pytest.mark.parametrize("orientation", SHOWN)
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_picture_is_shown_by_its_exif_orientation_once(tmp_path, suffix, orientation):
    if suffix == ".avif" and not features.check("avif"):
        pytest.skip("this Pillow reads no AVIF")
    if suffix == ".heic":
        pytest.importorskip("pillow_heif").register_heif_opener()
    path = tmp_path / f"a{suffix}"
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    names = {".jpg": "JPEG", ".jfif": "JPEG", ".heic": "HEIF", ".tiff": "TIFF"}
    Image.fromarray(quarters()).save(
        path, names.get(suffix, suffix[1:].upper()), exif=exif.tobytes()
    )
    info = probe(path)
    assert (info.width, info.height) == ((64, 96) if orientation >= 5 else (96, 64))
    if suffix != ".heic":  # libheif turns it before we see it
        assert info.traits == (("turned",) if orientation > 1 else ())
    assert info.reading == ()
    assert (
        letters_of(read_frames(path, VideoSize(info.width, info.height, 1))[0])
        == SHOWN[orientation]
    )
