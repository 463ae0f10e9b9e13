"""Animated pictures are videos: with their durations, laid over each other as browsers do."""

from itertools import permutations

import numpy as np
import pytest
from PIL import Image, features

from ltxv_train_core.errors import DataError
from ltxv_train_core.geometry import VideoSize
from ltxv_train_core.media.info import Selection
from ltxv_train_core.media.video import iterate_frames, probe, read_frames
from tests.core.media.quarters import letters_of, quarters

MOVING = ["".join(letters) for letters in permutations("RGBW")][:20]
OPTIONS = {".webp": {"lossless": True}, ".png": {}, ".gif": {}}


def save(path, pictures, **options):
    images = [Image.fromarray(pixels) for pixels in pictures]
    images[0].save(
        path,
        save_all=True,
        append_images=images[1:],
        loop=0,
        **{"duration": 100} | OPTIONS[path.suffix] | options,
    )


@pytest.mark.parametrize("suffix", OPTIONS)
def test_an_animation_is_a_video(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    save(path, [quarters(letters) for letters in MOVING])
    info = probe(path)
    assert (info.width, info.height, info.frames, info.fps) == (96, 64, 20, 10)
    assert not info.is_image
    assert info.traits == (() if suffix == ".gif" else ("animated",))
    assert [letters_of(frame) for frame in iterate_frames(path)] == MOVING
    part = read_frames(path, VideoSize(96, 64, 9), Selection(start=3))
    assert [letters_of(frame) for frame in part] == MOVING[3:12]
    slower = read_frames(path, VideoSize(96, 64, 9), Selection(start=1, fps=5))
    assert [letters_of(frame) for frame in slower] == MOVING[2::2]


@pytest.mark.parametrize("suffix", OPTIONS)
def test_each_picture_is_shown_for_its_own_time(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    save(path, [quarters(letters) for letters in MOVING[:4]], duration=[500, 200, 100, 100])
    shown = [letters_of(f) for f in read_frames(path, VideoSize(96, 64, 9), Selection(fps=10))]
    assert shown == [*MOVING[:1] * 5, *MOVING[1:2] * 2, *MOVING[2:4]]


@pytest.mark.parametrize("suffix", [".webp", ".png"])
def test_pictures_without_a_time_are_shown_for_a_tenth_of_a_second(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    save(path, [quarters(letters) for letters in MOVING], duration=0 if suffix == ".png" else 5)
    assert probe(path).fps == 10


def patch(letter, box, alpha=255):
    """A transparent picture with one filled quarter."""
    pixels = np.zeros((64, 96, 4), np.uint8)
    y, x = box
    pixels[y : y + 32, x : x + 48] = (*quarters(letter * 4)[0, 0], alpha)
    return pixels


@pytest.mark.parametrize(("disposal", "shown"), [(0, ["Rkkk", "RGkk"]), (1, ["Rkkk", "kGkk"])])
def test_parts_of_an_animated_png_are_blended_and_taken_away(tmp_path, disposal, shown):
    pictures = [patch("R", (0, 0)), patch("G", (0, 48))]
    save(tmp_path / "a.png", pictures, disposal=disposal, blend=1)
    assert [letters_of(frame) for frame in iterate_frames(tmp_path / "a.png")] == shown


@pytest.mark.parametrize(("disposal", "shown"), [(1, ["Rkkk", "RGkk"]), (2, ["Rkkk", "kGkk"])])
def test_parts_of_a_gif_are_blended_and_taken_away(tmp_path, disposal, shown):
    pictures = [patch("R", (0, 0)), patch("G", (0, 48))]
    save(tmp_path / "a.gif", pictures, disposal=disposal)
    assert [letters_of(frame) for frame in iterate_frames(tmp_path / "a.gif")] == shown


def test_transparency_of_an_animated_webp_is_black(tmp_path):
    save(tmp_path / "a.webp", [patch("R", (0, 0)), patch("W", (32, 48), alpha=0)], exact=True)
    shown = [letters_of(frame) for frame in iterate_frames(tmp_path / "a.webp")]
    assert shown == ["Rkkk", "kkkk"]


def test_the_still_picture_before_an_animated_png_is_no_part_of_it(tmp_path):
    path = tmp_path / "a.png"
    save(path, [quarters(letters) for letters in MOVING[:3]], default_image=True)
    assert probe(path).frames == 2
    assert [letters_of(frame) for frame in iterate_frames(path)] == MOVING[1:3]


@pytest.mark.parametrize("suffix", [".webp", ".png"])
def test_an_animation_of_one_picture_is_a_still(tmp_path, suffix):
    save(tmp_path / f"a{suffix}", [quarters()])
    assert probe(tmp_path / f"a{suffix}").is_image


@pytest.mark.parametrize("suffix", [".webp", ".png"])
def test_an_animation_that_ends_early_is_named(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    save(path, [np.random.default_rng(i).integers(0, 255, (64, 96, 3), np.uint8) for i in range(9)])
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    with pytest.raises(DataError, match=path.name):
        read_frames(path, VideoSize(96, 64, 9))


@pytest.mark.skipif(not features.check("avif"), reason="this Pillow reads no AVIF")
def test_an_animated_avif_is_left_out_by_name(tmp_path):
    images = [Image.fromarray(quarters(letters)) for letters in MOVING]
    images[0].save(tmp_path / "a.avif", save_all=True, append_images=images[1:])
    with pytest.raises(DataError, match=r"a\.avif: is an animated AVIF"):
        probe(tmp_path / "a.avif")
