"""Pictures in tiles are read whole, with what is said of the whole."""

import shutil
import struct

import numpy as np
import pytest
from PIL import Image, features

from ltxv_train_core.errors import DataError
from ltxv_train_core.geometry import VideoSize
from ltxv_train_core.media.images import read_image
from ltxv_train_core.media.video import probe, read_frames
from tests.core.media.quarters import SHOWN, letters_of, quarters
from tests.core.media.test_primaries import DISPLAY_P3, OCHRE, OCHRE_IN
from tests.core.media.tiles import box, in_tiles


def require(reader: str) -> str:
    """Skips where a reader isn't installed. Returns its suffix."""
    if reader == "HEIF":
        pytest.importorskip("pillow_heif").register_heif_opener()
        return ".heic"
    if not features.check("avif"):
        pytest.skip("this Pillow has no AVIF")
    return ".avif"


@pytest.mark.parametrize("reader", ["AVIF", "HEIF"])
def test_a_picture_in_tiles_is_whole(tmp_path, reader):
    path = tmp_path / f"a{require(reader)}"
    path.write_bytes(in_tiles(quarters("RGBW", 256, 192), reader))
    info = probe(path)
    assert (info.width, info.height, info.is_image, info.traits) == (256, 192, True, ())
    assert letters_of(read_image(path)) == "RGBW"
    assert letters_of(read_frames(path, VideoSize(64, 64, 1))[0]) == "RGBW"


@pytest.mark.parametrize("reader", ["AVIF", "HEIF"])
@pytest.mark.parametrize(("turns", "orientation"), [(1, 8), (2, 3), (3, 6)])
def test_the_whole_is_turned(tmp_path, reader, turns, orientation):
    path = tmp_path / f"a{require(reader)}"
    turned = (box(b"irot", bytes([turns])),)
    path.write_bytes(in_tiles(quarters("RGBW", 256, 192), reader, turned))
    info = probe(path)
    assert (info.width, info.height) == ((256, 192) if turns == 2 else (192, 256))
    assert letters_of(read_image(path)) == SHOWN[orientation]


@pytest.mark.parametrize("reader", ["AVIF", "HEIF"])
def test_primaries_of_the_whole(tmp_path, reader):
    path = tmp_path / f"a{require(reader)}"
    stated = box(b"colr", b"nclx", struct.pack(">HHHB", DISPLAY_P3, 13, 6, 0x80))
    picture = np.full((128, 128, 3), OCHRE_IN[DISPLAY_P3], np.uint8)
    path.write_bytes(in_tiles(picture, reader, (stated,)))
    assert probe(path).traits == ("display_p3",)
    assert np.abs(read_image(path)[20, 100].astype(int) - OCHRE).max() <= 5


@pytest.mark.parametrize("reader", ["AVIF", "HEIF"])
@pytest.mark.parametrize("suffix", [".mp4", ".mov"])
def test_with_the_suffix_of_a_video_it_is_left_out_by_name(tmp_path, reader, suffix):
    require(reader)
    path = tmp_path / f"a{suffix}"
    path.write_bytes(in_tiles(quarters("RGBW", 256, 192), reader))
    with pytest.raises(DataError, match=r"is an image \(HEIC or AVIF\) with the suffix of a video"):
        probe(path)


@pytest.mark.parametrize("reader", ["AVIF", "HEIF"])
def test_tiles_that_are_missing_are_told(tmp_path, reader):
    path = tmp_path / f"a{require(reader)}"
    whole = in_tiles(quarters("RGBW", 256, 192), reader)
    path.write_bytes(whole[: whole.index(b"mdat") + 60])
    with pytest.raises(DataError, match=r"a\.\w+: can't be read"):
        probe(path)


def test_a_heic_with_another_pictures_suffix(tmp_path):
    require("HEIF")
    path = tmp_path / "a.heic"
    path.write_bytes(in_tiles(quarters("RGBW", 256, 192), "HEIF"))
    shutil.copy(path, tmp_path / "a.jpg")
    assert letters_of(read_image(tmp_path / "a.jpg")) == "RGBW"


@pytest.mark.parametrize("size", [(95, 63), (97, 65)])
def test_a_heic_of_an_odd_size_keeps_it(tmp_path, size):
    """It is coded larger, and cut by its own aperture."""
    require("HEIF")
    Image.fromarray(quarters("RGBW", *size)).save(tmp_path / "a.heic", quality=95)
    info = probe(tmp_path / "a.heic")
    assert (info.width, info.height, info.traits) == (*size, ())
