"""The scorers on clips of which the truth is known."""

import random

import numpy as np
import pytest

from ltxv_train_core.families.ltxv.miniature.clips import random_spec, render
from ltxv_train_core.families.ltxv.miniature.datasets import evaluation_items, mirror
from ltxv_train_core.families.ltxv.miniature.scores import (
    fidelity,
    mask_centers,
    observe,
    overlap,
    score,
    stripe_contrast,
    upward_share,
)

SPECS = [random_spec(random.Random(seed)) for seed in range(12)]
PERFECT = {"background": 1.0, "colour": 1.0, "motion": 1.0}


def noisy(frames, spread=20):
    noise = np.random.default_rng(0).normal(0, spread, frames.shape)
    return np.clip(frames + noise, 0, 255).astype(np.uint8)


@pytest.mark.parametrize("style", ["plain", "stripes"])
def test_true_clips_have_full_fidelity_also_with_noise(style):
    videos = [render(spec, style).frames for spec in SPECS]
    assert fidelity(videos, SPECS, style) == PERFECT
    assert fidelity([noisy(v) for v in videos], SPECS, style) == PERFECT


def test_plain_clips_keep_their_fidelity_in_a_task_of_stripes():
    assert fidelity([render(spec).frames for spec in SPECS], SPECS, "stripes") == PERFECT


def test_clips_of_other_specs_have_the_fidelity_of_chance():
    found = fidelity([render(spec).frames for spec in SPECS], SPECS[1:] + SPECS[:1])
    assert max(found.values()) <= 0.5


def test_an_empty_picture_has_no_shape():
    seen = observe(np.full((17, 96, 96, 3), 120, np.uint8))
    assert (seen.background, seen.color, seen.motion) == ("grey", None, None)


def test_a_shape_that_stands_still_has_no_motion():
    frames = render(SPECS[0]).frames
    assert observe(np.repeat(frames[8:9], 17, axis=0)).motion is None


def test_stripes_are_the_contrast_of_the_bars():
    items = evaluation_items("stripes")
    striped = score("stripes", [render(i.spec, "stripes").frames for i in items], items)
    plain = score("stripes", [render(i.spec).frames for i in items], items)
    assert striped.value == striped.details["contrast_of_true_clips"] > 0.4
    assert plain.value == pytest.approx(0, abs=1e-4)
    assert striped.fidelity == plain.fidelity == PERFECT


def test_bars_of_half_the_light_have_half_the_contrast():
    plain, striped = (
        render(SPECS[0], style).frames.astype(float) for style in ("plain", "stripes")
    )
    half = np.rint((plain + striped) / 2).astype(np.uint8)
    whole = stripe_contrast([striped.astype(np.uint8)], SPECS[:1])
    assert stripe_contrast([half], SPECS[:1]) == pytest.approx(whole / 2, rel=0.02)


def test_mirror_is_the_overlap_with_the_mirrored_shape():
    items = evaluation_items("mirror")
    right = score("mirror", [render(i.spec).frames for i in items], items)
    wrong = score("mirror", [render(mirror(i.spec)).frames for i in items], items)
    assert right.value > 0.98
    assert right.details["centroid_error_px"] < 0.1
    assert wrong.value < 0.4
    assert wrong.details["centroid_error_px"] > 10


def test_a_shifted_video_has_the_centroid_error_of_its_shift():
    shifted = np.roll(render(SPECS[3]).frames, 4, axis=2)
    _, error_px = overlap([shifted], SPECS[3:4])
    assert error_px == pytest.approx(4, abs=0.2)


def test_nothing_seen_counts_the_picture_as_error():
    empty = np.zeros((17, 96, 96, 3), np.uint8)
    assert overlap([empty], SPECS[:1]) == (0.0, 96.0)


def test_up_is_the_share_that_moves_up():
    videos = [render(spec).frames for spec in SPECS]
    expected = np.mean([spec.motion == "up" for spec in SPECS])
    assert 0 < expected < 1
    assert upward_share(videos) == pytest.approx(expected)
    items = evaluation_items("up")
    assert score("up", [render(i.spec).frames for i in items], items).value == 1


def test_plain_is_the_share_that_follows_in_all():
    items = evaluation_items("plain")
    videos = [render(item.spec).frames for item in items]
    videos[0] = videos[0][::-1]
    assert score("plain", videos, items).value == pytest.approx(15 / 16)


def test_centers_of_frames_without_a_shape_are_nan():
    mask = np.zeros((2, 96, 96), bool)
    mask[0, 10:20, 30:50] = True
    np.testing.assert_allclose(mask_centers(mask), [[40, 15], [np.nan, np.nan]])
