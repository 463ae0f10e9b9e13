"""The scorers on clips of which the truth is known."""

import random

import numpy as np
import pytest
import torch

from ltxv_train_core.families.ltx2.griffin_lim import GriffinLim
from ltxv_train_core.families.ltx2.mel import log_mel
from ltxv_train_core.families.ltx2.miniature.datasets import evaluation_items
from ltxv_train_core.families.ltx2.miniature.hearing import beep_db, listen
from ltxv_train_core.families.ltx2.miniature.scenes import random_scene
from ltxv_train_core.families.ltx2.miniature.scores import agreement, heard, score, seen
from ltxv_train_core.families.ltx2.miniature.sounds import PITCHES_HZ, render_sound
from ltxv_train_core.families.ltxv.miniature.clips import render

SCENES = [random_scene(random.Random(seed)) for seed in range(24)]
PERFECT = {"colour": 1.0, "motion": 1.0, "timbre": 1.0, "level": 1.0}


def spectrograms(scenes, beep=False):
    rng = random.Random(0)
    sounds = np.stack([render_sound(scene, rng, beep) for scene in scenes])
    return log_mel(torch.from_numpy(sounds))[:, :, :137].numpy()


def videos(scenes, style="plain"):
    return [render(scene.clip, style).frames for scene in scenes]


@pytest.mark.parametrize("beep", [False, True])
def test_true_sounds_are_heard_right(beep):
    found = spectrograms(SCENES, beep)
    assert heard(found, SCENES) == PERFECT
    for one, scene in zip(found, SCENES, strict=True):
        cents = 1200 * np.log2(listen(one).pitch_hz / PITCHES_HZ[scene.clip.color])
        assert abs(cents) < 25


def test_sounds_of_other_scenes_are_heard_by_chance():
    found = heard(spectrograms(SCENES), SCENES[1:] + SCENES[:1])
    assert max(found["colour"], found["motion"]) < 0.5
    assert max(found["timbre"], found["level"]) < 0.8


def test_a_glide_is_measured_in_semitones():
    for one, scene in zip(spectrograms(SCENES), SCENES, strict=True):
        # The ends of the clip aren't listened to.
        expected = {"up": 4.4, "down": -4.4}.get(scene.clip.motion, 0)
        assert listen(one).glide_semitones == pytest.approx(expected, abs=0.4)


def test_noise_and_silence_are_no_motion():
    silence = np.full((2, 137, 64), np.log(1e-5))
    assert listen(silence).motion is None
    assert listen(silence).level == "soft"
    noise = np.random.default_rng(0).normal(-3, 0.5, (2, 137, 64))
    assert listen(noise).motion is None


def test_the_beep_is_43_decibels_above_its_pauses():
    assert np.mean([beep_db(one) for one in spectrograms(SCENES)]) == pytest.approx(0, abs=0.5)
    with_beep = [beep_db(one) for one in spectrograms(SCENES, beep=True)]
    assert np.mean(with_beep) == pytest.approx(43, abs=1)
    late = np.roll(spectrograms(SCENES[:4], beep=True), 12, axis=2)
    assert np.mean([beep_db(one) for one in late]) < -20


def test_what_griffin_and_lim_give_is_heard_right():
    scenes = SCENES[:6]
    sound = GriffinLim()(torch.from_numpy(spectrograms(scenes)))
    assert heard(log_mel(sound).numpy(), scenes) == PERFECT


def test_agreement_asks_for_no_prompt():
    shown, sounds = videos(SCENES), spectrograms(SCENES)
    assert agreement(shown, sounds) == {"colour": 1.0, "motion": 1.0}
    wrong = agreement(shown, np.roll(sounds, 1, axis=0))
    assert max(wrong.values()) < 0.5


@pytest.mark.long
def test_a_task_is_scored_by_stripes_and_beep():
    items = evaluation_items("stripes_and_beep")
    scenes = [item.scene for item in items]
    right = score(
        "stripes_and_beep", videos(scenes, "stripes"), spectrograms(scenes, beep=True), items
    )
    plain = score("stripes_and_beep", videos(scenes), spectrograms(scenes), items)
    assert right.stripes > 0.4
    assert right.beep_db == pytest.approx(43, abs=1)
    assert plain.stripes == pytest.approx(0, abs=1e-4)
    assert plain.beep_db == pytest.approx(0, abs=0.5)
    assert right.seen == plain.seen == {"background": 1.0, "colour": 1.0, "motion": 1.0}
    assert right.heard == plain.heard == PERFECT
    assert seen(videos(scenes)[1:] + videos(scenes)[:1], scenes)["motion"] < 0.6
