"""What is opened, and how large it may be."""

import os
import threading

import numpy as np
import pytest
from PIL import Image

from ltxv_train_core.errors import DataError
from ltxv_train_core.geometry import VideoSize
from ltxv_train_core.media import images
from ltxv_train_core.media.images import read_image
from ltxv_train_core.media.video import iterate_frames, probe, read_frames
from ltxv_train_core.media.write import write_video

SIZE = VideoSize(32, 32, 1)


def test_pictures_beyond_the_bound_are_refused_by_every_door(tmp_path):
    path = tmp_path / "a.png"
    Image.new("RGB", (1001, 1000), (9, 99, 200)).save(path)
    doors = (
        lambda: probe(path, 1),
        lambda: read_image(path, 1),
        lambda: read_frames(path, SIZE, megapixels=1),
        lambda: next(iterate_frames(path, 1)),
    )
    for door in doors:
        with pytest.raises(DataError, match=r"a\.png: has 1001x1000 pixels, and at most 1 million"):
            door()
    assert probe(path, 1.1).width == 1001


def test_a_decoder_that_holds_a_picture_several_times_gets_smaller_ones(tmp_path):
    Image.new("RGB", (1000, 600)).save(tmp_path / "a.webp")
    with pytest.raises(DataError, match=r"at most 0\.5 million"):
        probe(tmp_path / "a.webp", 1)
    Image.new("RGB", (1000, 500)).save(tmp_path / "b.webp")
    assert probe(tmp_path / "b.webp", 1).height == 500


def test_frames_of_videos_have_a_bound(tmp_path):
    write_video(tmp_path / "a.mp4", np.zeros((9, 512, 1024, 3), np.uint8), 25)
    with pytest.raises(DataError, match=r"a\.mp4: has 1024x512 pixels, and at most 0\.4 million"):
        probe(tmp_path / "a.mp4", 1)
    with pytest.raises(DataError, match=r"at most 0\.4 million"):
        read_frames(tmp_path / "a.mp4", SIZE, megapixels=1)
    assert probe(tmp_path / "a.mp4", 2).width == 1024


def test_a_large_picture_is_the_same_as_a_small_one(tmp_path, monkeypatch):
    """It is read in stripes, by a thread that all share."""
    noise = np.random.default_rng(0).integers(0, 255, (60, 80, 3), dtype=np.uint8)
    exif = Image.Exif()
    exif[0x112] = 6
    Image.fromarray(noise).save(tmp_path / "a.png", exif=exif)
    small = read_image(tmp_path / "a.png"), read_frames(tmp_path / "a.png", SIZE)
    names = set()
    decode = images.decode_image

    def decoded(*arguments):
        names.add(threading.current_thread().name)
        return decode(*arguments)

    monkeypatch.setattr(images, "STRIPE_PIXELS", 300)
    monkeypatch.setattr("ltxv_train_core.media.readable.LARGE_PIXELS", 1000)
    monkeypatch.setattr(images, "decode_image", decoded)
    large = read_image(tmp_path / "a.png"), read_frames(tmp_path / "a.png", SIZE)
    np.testing.assert_array_equal(small[0], np.rot90(noise, -1))
    for a, b in zip(small, large, strict=True):
        np.testing.assert_array_equal(a, b)
    assert names == {"ltxv-large_0"}


@pytest.mark.skipif(os.name == "nt", reason="Windows has no pipes in folders")
@pytest.mark.parametrize("name", ["a.mp4", "a.png"])
def test_a_pipe_is_not_opened(tmp_path, name):
    os.mkfifo(tmp_path / name)
    for door in (probe, read_image, lambda path: read_frames(path, SIZE)):
        with pytest.raises(DataError, match=f"{name}: is no regular file"):
            door(tmp_path / name)


def test_a_file_that_is_nearly_all_hole_is_refused(tmp_path):
    write_video(tmp_path / "a.mp4", np.zeros((9, 64, 64, 3), np.uint8), 25)
    whole = probe(tmp_path / "a.mp4")
    os.truncate(tmp_path / "a.mp4", 2**30)
    if not 0 < (tmp_path / "a.mp4").stat().st_blocks * 512 < 2**29:
        pytest.skip("this drive writes holes, or doesn't tell of them")
    assert probe(tmp_path / "a.mp4") == whole
    os.truncate(tmp_path / "a.mp4", 2**30 + 1)
    with pytest.raises(DataError, match=r"is incomplete: of its 1 GiB only \d+ KiB were"):
        probe(tmp_path / "a.mp4")


def test_a_list_of_files_is_not_followed(tmp_path):
    write_video(tmp_path / "other.mp4", np.zeros((9, 64, 64, 3), np.uint8), 25)
    text = "ffconcat version 1.0\nfile 'other.mp4'\n"
    (tmp_path / "a.mp4").write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=r"a\.mp4: can't be read as a video or image"):
        probe(tmp_path / "a.mp4")


def test_heic_says_what_to_install(tmp_path):
    (tmp_path / "a.heic").write_bytes(b"\0\0\0\x18ftypheic" + bytes(100))
    if "HEIF" in images._readers():
        pytest.skip("pillow-heif is installed")
    with pytest.raises(DataError, match="pip install pillow-heif"):
        probe(tmp_path / "a.heic")
