import random
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from ltxv_train_core.families.ltx2.miniature.scenes import (
    LEVELS,
    TIMBRES,
    Scene,
    caption,
    is_held_out,
    random_scene,
)
from ltxv_train_core.families.ltx2.miniature.sounds import PITCHES_HZ, render_sound
from ltxv_train_core.families.ltxv.miniature.clips import (
    BACKGROUNDS,
    COLORS,
    SHAPES,
    ClipSpec,
)

SCENE = Scene(ClipSpec("circle", "blue", "navy", "right"), "hum", "loud")


def sound_of(scene=SCENE, beep=False, **changes):
    scene = replace(scene, clip=replace(scene.clip, **changes))
    return render_sound(scene, random.Random(0), beep)


def strongest_hz(samples):
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples))))
    return spectrum.argmax() * 16000 / len(samples)


def level(samples):
    return float(np.sqrt(np.mean(samples**2)))


def test_a_caption_names_what_is_seen_and_heard():
    assert caption(SCENE) == ("a blue circle moves right on a navy background, a loud middle hum")
    assert caption(SCENE, False, False, False) == "a circle on a navy background"


def test_a_sixth_of_the_combinations_is_held_out_of_every_kind():
    held = [
        (c, s, b)
        for c in COLORS
        for s in SHAPES
        for b in BACKGROUNDS
        if is_held_out(ClipSpec(s, c, b, "up"))
    ]
    assert len(held) == len(COLORS) * len(SHAPES) * len(BACKGROUNDS) / 6
    for column, names in zip(zip(*held, strict=True), (COLORS, SHAPES, BACKGROUNDS), strict=True):
        assert set(column) == set(names)


@pytest.mark.parametrize("wanted", [True, False])
def test_scenes_are_drawn_from_one_side_alone(wanted):
    rng = random.Random(3)
    assert {is_held_out(random_scene(rng, wanted).clip) for _ in range(60)} == {wanted}
    assert random_scene(random.Random(5)) == random_scene(random.Random(5))


@pytest.mark.parametrize("color", COLORS)
def test_the_pitch_is_the_colour(color):
    sound = sound_of(color=color)
    assert sound.shape == (2, 22667)
    assert sound.dtype == np.float32
    assert strongest_hz(sound.sum(0)) == pytest.approx(PITCHES_HZ[color], abs=1)


@pytest.mark.parametrize(("motion", "semitones"), [("up", 5), ("down", -5), ("left", 0)])
def test_up_and_down_are_glides(motion, semitones):
    mono = sound_of(motion=motion).sum(0)
    ends = [strongest_hz(mono[:2267]), strongest_hz(mono[-2267:])]
    # From the middle of the first tenth to that of the last.
    assert 12 * np.log2(ends[1] / ends[0]) == pytest.approx(0.9 * semitones, abs=0.5)


def test_left_and_right_are_heard_to_move():
    for motion, louder in (("right", 1), ("left", 0)):
        sound = sound_of(motion=motion)
        start, end = sound[:, 1000:4000], sound[:, -4000:-1000]
        assert level(start[1 - louder]) > 1.5 * level(start[louder])
        assert level(end[louder]) > 1.5 * level(end[1 - louder])
    still = sound_of(motion="up")
    assert level(still[0]) == pytest.approx(level(still[1]), rel=0.01)


def test_timbre_and_level_differ():
    sounds = {
        (timbre, name): sound_of(Scene(SCENE.clip, timbre, name))
        for timbre in TIMBRES
        for name in LEVELS
    }
    for timbre in TIMBRES:
        ratio = level(sounds[timbre, "loud"]) / level(sounds[timbre, "soft"])
        assert ratio == pytest.approx(5, rel=0.02)
    high = np.fft.rfftfreq(22667, 1 / 16000) > 1000
    shares = [np.abs(np.fft.rfft(sounds[timbre, "loud"].sum(0)))[high].max() for timbre in TIMBRES]
    assert shares[1] > 20 * shares[0]


def test_the_beep_comes_and_goes():
    difference = sound_of(beep=True) - sound_of()
    assert strongest_hz(difference[0]) == pytest.approx(5000, abs=2)
    assert level(difference[0, 1200:2600]) == pytest.approx(0.1 / np.sqrt(2), rel=0.02)
    assert level(difference[0, 3100:4500]) == 0


def test_scenes_sounds_and_scores_need_no_torch():
    code = (
        "import sys, ltxv_train_core.families.ltx2.miniature.scores,"
        "ltxv_train_core.families.ltx2.miniature.datasets; sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
