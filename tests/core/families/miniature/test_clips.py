import random
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from ltxv_train_core.families.ltxv.miniature.clips import (
    BACKGROUNDS,
    COLORS,
    DIRECTIONS,
    SHAPES,
    ClipSpec,
    caption,
    light_bars,
    random_spec,
    render,
)

SPEC = ClipSpec("circle", "red", "navy", "right")


def test_caption_names_everything_and_the_motion_on_demand():
    assert caption(SPEC) == "a red circle moves right on a navy background"
    assert caption(SPEC, with_motion=False) == "a red circle on a navy background"


def test_a_clip_shows_its_colors():
    clip = render(SPEC)
    assert clip.frames.shape == (17, 96, 96, 3)
    assert clip.frames.dtype == np.uint8
    assert tuple(clip.frames[8, 48, 48]) == COLORS["red"]
    assert tuple(clip.frames[0, 0, 0]) == BACKGROUNDS["navy"]


@pytest.mark.parametrize("motion", DIRECTIONS)
@pytest.mark.parametrize("shape", SHAPES)
def test_the_shape_travels_its_path(shape, motion):
    mask = render(replace(SPEC, shape=shape, motion=motion)).mask
    area = mask.sum(axis=(1, 2))
    x = (mask.sum(axis=1) * np.arange(96)).sum(axis=1) / area
    y = (mask.sum(axis=2) * np.arange(96)).sum(axis=1) / area
    dx, dy = DIRECTIONS[motion]
    assert x[-1] - x[0] == pytest.approx(dx * 0.4 * 96, abs=0.5)
    assert y[-1] - y[0] == pytest.approx(dy * 0.4 * 96, abs=0.5)
    assert 0.05 < mask.mean() < 0.2


def test_stripes_lighten_every_second_bar_of_the_background():
    plain, striped = render(SPEC).frames, render(SPEC, "stripes").frames
    light = light_bars()
    np.testing.assert_array_equal(plain[:, :4, ~light], striped[:, :4, ~light])
    assert (striped[:, :4, light].astype(int) - plain[:, :4, light]).min() > 100


def test_a_silhouette_is_white_on_black():
    clip = render(SPEC, "silhouette")
    np.testing.assert_array_equal(clip.frames[..., 0], np.rint(clip.mask * 255))


def test_the_same_seed_draws_the_same_spec():
    assert random_spec(random.Random(5)) == random_spec(random.Random(5))
    assert random_spec(random.Random(5)) != random_spec(random.Random(6))


def test_an_unknown_style_or_shape_is_named():
    with pytest.raises(ValueError, match="dots"):
        render(SPEC, "dots")
    with pytest.raises(ValueError, match="star"):
        render(replace(SPEC, shape="star"))


def test_data_sets_and_scores_need_no_torch():
    code = (
        "import sys, ltxv_train_core.families.ltxv.miniature.scores, ltxv_train_core.families.ltxv.miniature.datasets;"
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
