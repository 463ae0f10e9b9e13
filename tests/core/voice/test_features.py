"""What is measured of a sound: levels, loudness and pitch."""

import numpy as np
import pytest

from ltxv_train_core.media.mel_scale import CENTERS_HZ
from ltxv_train_core.media.sound import Sound
from ltxv_train_core.voice.distance import distances, moments, nearest, own_distance
from ltxv_train_core.voice.features import features_of


def tone(hz, amplitude=0.5, rate=16_000, seconds=1.0, harmonics=1):
    time = np.arange(round(rate * seconds)) / rate
    mono = sum(np.sin(2 * np.pi * hz * k * time) / k for k in range(1, harmonics + 1))
    return Sound((amplitude * mono).astype(np.float32)[None].repeat(2, 0), rate)


@pytest.mark.parametrize("harmonics", [1, 8])
@pytest.mark.parametrize("hz", [82.4, 220.0, 440.0, 1100.0])
def test_the_pitch_of_a_tone(hz, harmonics):
    heard = features_of(tone(hz, 0.3, harmonics=harmonics)).pitch_hz
    assert len(heard) > 90
    assert np.median(heard) == pytest.approx(hz, rel=0.005)


def test_a_tone_of_another_rate_is_the_same():
    ours, theirs = features_of(tone(330, rate=16_000)), features_of(tone(330, rate=48_000))
    middle = slice(10, -10)
    assert np.abs(ours.level_db[middle, 10] - theirs.level_db[middle, 10]).max() < 0.2
    assert np.median(theirs.pitch_hz) == pytest.approx(330, rel=0.005)


def test_loudness_is_that_of_full_scale():
    heard = features_of(tone(500, 0.5))
    # A sine of half of full scale: 20 log10(0.5 / sqrt(2)).
    assert np.median(heard.loudness_db) == pytest.approx(-9.03, abs=0.05)
    assert CENTERS_HZ[heard.level_db.mean(0).argmax()] == pytest.approx(500, rel=0.06)
    assert len(heard.level_db) == len(heard.loudness_db) == 101


def test_noise_and_silence_have_no_pitch():
    noise = np.random.default_rng(0).normal(0, 0.1, (1, 16_000)).astype(np.float32).repeat(2, 0)
    assert len(features_of(Sound(noise, 16_000)).pitch_hz) < 10
    silence = features_of(Sound(np.zeros((2, 16_000), np.float32), 16_000))
    assert len(silence.pitch_hz) == 0
    assert silence.loudness_db.max() == -120


def test_silence_around_a_sound_does_not_count():
    sound = tone(300, 0.4)
    samples = np.pad(sound.samples, ((0, 0), (8_000, 8_000)))
    around = features_of(Sound(samples, 16_000))
    ours, theirs = (moments([each], -100) for each in (features_of(sound), around))
    assert np.abs(ours[:, :64] - theirs[:, :64]).max() < 8
    assert np.abs(np.pad(ours, 0) - moments([features_of(tone(300, 0.04))], -100)).max() > 19


def test_what_all_clips_share_counts_for_more():
    """Two dimensions: clips agree in the first, and spread by 10 dB in the second."""
    clips = np.array([[0.0, -10.0], [0.0, 0.0], [0.0, 10.0]])
    shared, other = distances(np.array([[5.0, 0.0], [0.0, 5.0]]), clips)
    assert shared == pytest.approx(5 / np.sqrt(2))  # over the least spread, 1 dB
    assert other == pytest.approx(0.5 / np.sqrt(2))  # over 10 dB
    # Each from the two others: 15 over sqrt(50), 0, and 15 over sqrt(50); over sqrt(2) for two dimensions.
    assert own_distance(clips) == pytest.approx(1.5)
    assert own_distance(clips[:2]) == 1
    assert distances(clips[:1], clips[:1])[0] == 0


def test_the_nearest_clip():
    clips = np.array([[0.0, 0.0], [3.0, 4.0], [6.0, 8.0]])
    assert nearest(np.array([3.0, 3.0]), clips) == (1, pytest.approx(np.sqrt(0.5)))
