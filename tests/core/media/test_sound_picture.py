import numpy as np

from ltxv_train_core.media.sheet import MARGIN_PX, contact_sheet
from ltxv_train_core.media.sound import Sound
from ltxv_train_core.media.sound_picture import (
    BACKGROUND,
    PICTURE_PX,
    WAVE,
    WAVE_PX,
    sound_picture,
)

RATE = 16000
SECONDS = np.arange(RATE) / RATE


def picture_of(left, right):
    sound = Sound(np.stack([left, right]).astype(np.float32), RATE)
    return np.asarray(sound_picture(sound, 200)).astype(int)


def test_waves_show_when_each_side_is_loud():
    tone = np.sin(2 * np.pi * 440 * SECONDS)
    picture = picture_of(tone * (SECONDS < 0.5), 0.04 * tone)
    assert picture.shape == (PICTURE_PX, 200, 3)
    blue = (picture == WAVE).all(2)
    left, right = blue[:WAVE_PX].sum(0), blue[WAVE_PX : 2 * WAVE_PX].sum(0)
    assert (left[:98] == WAVE_PX).all()
    assert (left[102:] == 2).all()
    assert (abs(right - 0.2 * WAVE_PX) <= 2).all()
    assert tuple(picture[0, -1]) == BACKGROUND


def test_the_spectrogram_shows_pitch_and_place():
    low, high = (np.sin(2 * np.pi * hz * SECONDS) for hz in (300, 5000))
    sound = np.where(SECONDS < 0.5, low, high)
    brightness = picture_of(sound, sound)[2 * WAVE_PX :].sum(2)
    first, last = brightness[:, 20].argmax(), brightness[:, -20].argmax()
    assert brightness[:, 20].max() > 600
    # 300 Hz lies a third of the way up from 60 Hz to 8 kHz, 5 kHz nearly at the top.
    assert abs(first - 72 * (1 - np.log(300 / 60) / np.log(8000 / 60))) < 4
    assert abs(last - 72 * (1 - np.log(5000 / 60) / np.log(8000 / 60))) < 4
    assert brightness[last, 20] < 200


def test_silence_is_dark():
    assert picture_of(0 * SECONDS, 0 * SECONDS)[2 * WAVE_PX :].sum(2).max() < 60


def test_a_sheet_draws_sounds_below_their_videos():
    video = np.full((5, 64, 96, 3), 200, np.uint8)
    sound = Sound(np.zeros((2, RATE), np.float32), RATE)
    plain = contact_sheet([[video, video]])
    both = np.asarray(contact_sheet([[video, video]], sounds=[[sound, None]]))
    assert both.shape[:2] == (plain.height + PICTURE_PX + 2, plain.width)
    below = both[MARGIN_PX + 64 + 2 + WAVE_PX // 2]
    assert tuple(below[MARGIN_PX + 5]) == WAVE
    assert tuple(below[-MARGIN_PX - 5]) == BACKGROUND
