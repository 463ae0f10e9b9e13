"""The shipped miniature follows prompts in what it shows and sounds, and one stream follows the other."""

import pytest

from ltxv_train_core.families.ltx2.miniature import scenes, scores, shipped
from ltxv_train_core.families.ltx2.miniature.datasets import evaluation_items
from ltxv_train_core.families.names import AUDIO, VIDEO
from ltxv_train_core.families.open import open_model
from tools.miniature_ltx2_check import (
    SMALLEST_HEARD,
    SMALLEST_OF_SOUND,
    SMALLEST_OF_VIDEO,
    SMALLEST_SEEN,
    sample_clips,
    sound_latents,
    video_latents,
)

pytestmark = pytest.mark.slow

ITEMS = evaluation_items("plain", count=16, held_out=True)
SCENES = [item.scene for item in ITEMS]
SHORT = [
    scenes.caption(scene, with_motion=False, with_color=False, with_sound=False) for scene in SCENES
]


@pytest.fixture(scope="module")
def model():
    return open_model(shipped.MINIATURE)


def reaches(found, least):
    return {name: share for name, share in found.items() if share < least.get(name, 0)} == {}


@pytest.mark.long
def test_what_is_seen_and_heard_follows_the_prompt(model):
    clips = sample_clips(model, [item.prompt for item in ITEMS], seed=0)
    assert reaches(scores.seen(clips.videos, SCENES), SMALLEST_SEEN)
    assert reaches(scores.heard(clips.spectrograms, SCENES), SMALLEST_HEARD)
    assert min(scores.agreement(clips.videos, clips.spectrograms).values()) >= 0.9


@pytest.mark.long
def test_a_video_follows_the_sound_that_is_given(model):
    clips = sample_clips(model, SHORT, 0, {AUDIO: sound_latents(SCENES, 0)})
    assert scores.heard(clips.spectrograms, SCENES)["colour"] == 1
    assert reaches(scores.seen(clips.videos, SCENES), SMALLEST_OF_SOUND)


@pytest.mark.long
def test_a_sound_follows_the_video_that_is_given(model):
    clips = sample_clips(model, SHORT, 0, {VIDEO: video_latents(model, SCENES)})
    assert scores.seen(clips.videos, SCENES) == {"background": 1, "colour": 1, "motion": 1}
    assert reaches(scores.heard(clips.spectrograms, SCENES), SMALLEST_OF_VIDEO)
