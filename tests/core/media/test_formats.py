"""Every format of the table, as other programs write it."""

import numpy as np
import pytest
from PIL import Image, features

from ltxv_train_core.errors import DataError
from ltxv_train_core.geometry import VideoSize
from ltxv_train_core.media.formats import FORMATS, listed
from ltxv_train_core.media.info import Selection
from ltxv_train_core.media.video import probe, read_frames
from tests.core.media.test_video import encode, moving

CODECS = {
    ".mp4": "libx264",
    ".m4v": "libx264",
    ".mov": "mpeg4",
    ".3gp": "libx264",
    ".mkv": "libx264",
    ".webm": "libvpx-vp9",
    ".avi": "mpeg4",
    ".gif": "gif",
    ".ts": "libx264",
    ".mts": "libx264",
    ".m2ts": "mpeg2video",
    ".mpg": "mpeg1video",
    ".mpeg": "mpeg2video",
    ".wmv": "wmv2",
    ".flv": "flv",
    ".mxf": "mpeg2video",
    ".ogv": "libtheora",
}
CONTAINERS = {".mts": ".ts", ".m2ts": ".ts", ".mpeg": ".mpg"}
"""Suffixes that FFmpeg doesn't write, by those of the same format."""


@pytest.mark.parametrize("suffix", CODECS)
def test_videos_have_their_frames_whatever_holds_them(tmp_path, suffix):
    if suffix == ".ogv":
        pytest.skip("PyAV writes no Theora")
    written = tmp_path / f"a{CONTAINERS.get(suffix, suffix)}"
    encode(written, moving(34), CODECS[suffix], "rgb8" if suffix == ".gif" else "yuv420p")
    path = written.rename(tmp_path / f"A{suffix.upper()}")
    info = probe(path)
    assert (info.width, info.height, info.frames, info.fps) == (96, 64, 34, 25)
    whole = read_frames(path, VideoSize(96, 64, 33))
    levels = whole.mean(axis=(1, 2, 3))
    np.testing.assert_allclose(levels, 10 + 3 * np.arange(33), atol=20 if suffix == ".gif" else 6)
    part = read_frames(path, VideoSize(96, 64, 9), Selection(start=12))
    np.testing.assert_array_equal(part, whole[12:21])


@pytest.mark.parametrize("suffix", [s for s in FORMATS if FORMATS[s].kind == "image"])
def test_images(tmp_path, suffix):
    if suffix in (".heic", ".heif"):
        pytest.skip("Pillow writes no HEIC")
    if suffix == ".avif" and not features.check("avif"):
        pytest.skip("this Pillow has no AVIF")
    path = tmp_path / f"a{suffix}"
    Image.new("RGB", (96, 64), (9, 99, 200)).save(path)
    info = probe(path)
    assert (info.width, info.height, info.frames, info.is_image) == (96, 64, 1, True)
    pixels = read_frames(path, VideoSize(96, 64, 1))
    np.testing.assert_allclose(pixels.mean(axis=(0, 1, 2)), (9, 99, 200), atol=3)


def test_every_suffix_is_tried():
    assert {s for s in FORMATS if FORMATS[s].kind == "video"} == set(CODECS)
    assert listed([".3gp", ".mp4", ".avi"]) == ".avi, .mp4, .3gp"


@pytest.mark.skipif(not features.check("avif"), reason="this Pillow reads no AVIF")
def test_a_picture_with_the_suffix_of_a_video_is_named(tmp_path):
    """FFmpeg would read it, and of a tiled one the first tile."""
    Image.fromarray(moving(1)[0]).save(tmp_path / "a.avif")
    path = (tmp_path / "a.avif").rename(tmp_path / "a.mp4")
    with pytest.raises(DataError, match=r"a\.mp4: is an image \(HEIC or AVIF\)"):
        probe(path)
