"""Images are read as they are meant to be seen, and as videos of one frame."""

import numpy as np
import pytest
from PIL import Image, ImageCms

from ltxv_train_core.errors import DataError
from ltxv_train_core.geometry import VideoSize
from ltxv_train_core.media.images import read_image
from ltxv_train_core.media.info import MediaInfo
from ltxv_train_core.media.video import probe, read_frames

ORIENTATION_TAG = 0x0112


def halves(width: int = 96, height: int = 64) -> Image.Image:
    """Red above, blue below."""
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[: height // 2] = (220, 20, 20)
    pixels[height // 2 :] = (20, 20, 220)
    return Image.fromarray(pixels)


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp"])
def test_an_image_is_a_video_of_one_frame(tmp_path, suffix):
    path = tmp_path / f"a.{suffix}"
    halves().save(path, quality=95)
    assert probe(path) == MediaInfo(96, 64, 1, 25.0, True)
    frames = read_frames(path, VideoSize(64, 64, 1))
    assert frames.shape == (1, 64, 64, 3)
    np.testing.assert_allclose(frames[0, [8, 56], 32], [(220, 20, 20), (20, 20, 220)], atol=8)
    with pytest.raises(DataError, match="ends after 1 of the 9"):
        read_frames(path, VideoSize(64, 64, 9))


def test_resizing_an_image_keeps_its_colours_apart(tmp_path):
    """No chroma is lost on the way: red and green columns of 2 pixels stay what they are."""
    pixels = np.zeros((64, 64, 3), np.uint8)
    pixels[:, 0::4] = pixels[:, 1::4] = (255, 0, 0)
    pixels[:, 2::4] = pixels[:, 3::4] = (0, 255, 0)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    read = read_frames(tmp_path / "a.png", VideoSize(64, 64, 1))[0]
    assert np.abs(read.astype(int) - pixels).max() <= 1


def test_exif_orientation_is_applied(tmp_path):
    exif = Image.Exif()
    exif[ORIENTATION_TAG] = 6
    halves().rotate(90, expand=True).save(tmp_path / "phone.jpg", exif=exif, quality=95)
    info = probe(tmp_path / "phone.jpg")
    assert (info.width, info.height) == (96, 64)
    np.testing.assert_allclose(read_image(tmp_path / "phone.jpg")[8, 48], (220, 20, 20), atol=8)


def test_transparent_parts_are_black(tmp_path):
    image = halves().convert("RGBA")
    image.putalpha(Image.fromarray(np.repeat([[0, 255]], 64, 0).repeat(48, 1).astype(np.uint8)))
    image.save(tmp_path / "a.png")
    image.convert("RGBA").quantize().save(tmp_path / "palette.png")
    for name in ("a.png", "palette.png"):
        pixels = read_image(tmp_path / name)
        assert pixels[:, :48].max() == 0
        np.testing.assert_allclose(pixels[8, 60], (220, 20, 20), atol=2)


def test_sixteen_bit_and_grey_images_keep_their_brightness(tmp_path):
    Image.fromarray(np.full((32, 32), 32896, np.uint16)).save(tmp_path / "deep.png")
    Image.fromarray(np.full((32, 32), 128, np.uint8)).save(tmp_path / "grey.png")
    assert set(read_image(tmp_path / "deep.png").ravel()) == {128}
    assert set(read_image(tmp_path / "grey.png").ravel()) == {128}


def test_a_colour_profile_is_converted_to_srgb(tmp_path):
    lab = ImageCms.ImageCmsProfile(ImageCms.createProfile("XYZ")).tobytes()
    halves().save(tmp_path / "unusable.png", icc_profile=lab[:200])
    np.testing.assert_array_equal(read_image(tmp_path / "unusable.png"), np.asarray(halves()))
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    halves().save(tmp_path / "same.png", icc_profile=srgb)
    np.testing.assert_allclose(
        read_image(tmp_path / "same.png").astype(int), np.asarray(halves()), atol=1
    )


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp"])
def test_colours_are_those_of_the_profile(tmp_path, suffix):
    """In this profile the primaries red and green have changed places."""
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    swapped = srgb.replace(b"rXYZ", b"????", 1).replace(b"gXYZ", b"rXYZ", 1)
    swapped = swapped.replace(b"????", b"gXYZ", 1)
    picture = Image.new("RGB", (32, 32), (230, 10, 40))
    picture.save(tmp_path / f"a.{suffix}", icc_profile=swapped, quality=98)
    read = read_image(tmp_path / f"a.{suffix}")
    np.testing.assert_allclose(read[16, 16].astype(int), (10, 230, 40), atol=6)


def test_a_printers_jpeg_and_a_transparent_webp(tmp_path):
    halves().convert("CMYK").save(tmp_path / "print.jpg", quality=95)
    np.testing.assert_allclose(read_image(tmp_path / "print.jpg")[8, 48], (220, 20, 20), atol=12)
    image = halves().convert("RGBA")
    image.putalpha(Image.fromarray(np.repeat([[0, 255]], 64, 0).repeat(48, 1).astype(np.uint8)))
    image.save(tmp_path / "a.webp", lossless=True, exact=True)
    assert read_image(tmp_path / "a.webp")[:, :48].max() == 0
    np.testing.assert_allclose(read_image(tmp_path / "a.webp")[8, 60], (220, 20, 20), atol=2)


def test_a_broken_image_is_named(tmp_path):
    halves().save(tmp_path / "cut.png")
    (tmp_path / "cut.png").write_bytes((tmp_path / "cut.png").read_bytes()[:90])
    (tmp_path / "fake.jpg").write_text("not an image", encoding="utf-8")
    for name in ("cut.png", "fake.jpg"):
        with pytest.raises(DataError, match=f"{name}: can't be read as a video or image"):
            probe(tmp_path / name)
