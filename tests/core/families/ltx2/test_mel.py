import math

import numpy as np
import pytest
import torch

from ltxv_train_core.families.ltx2.griffin_lim import GriffinLim
from ltxv_train_core.families.ltx2.mel import log_mel
from ltxv_train_core.media.mel_scale import CENTERS_HZ, filter_edges, mel_filters


def tone(hz, seconds=1.0, amplitude=0.5):
    return amplitude * torch.sin(2 * math.pi * hz * torch.arange(round(16000 * seconds)) / 16000)


def test_bins_are_evenly_spaced_up_to_one_kilohertz_and_by_a_ratio_above():
    edges = filter_edges()
    assert edges[[0, -1]] == pytest.approx([0, 8000])
    low, high = edges[edges < 1000], edges[edges > 1000]
    assert np.diff(low) == pytest.approx(46.406, abs=1e-3)
    assert high[1:] / high[:-1] == pytest.approx(1.04902, abs=1e-5)


def test_every_filter_has_an_area_of_one():
    bank = mel_filters()
    assert bank.shape == (64, 513)
    wide = CENTERS_HZ > 2000  # low filters are about as narrow as a bin of the transform
    assert bank.sum(1)[wide] * 15.625 == pytest.approx(1, abs=0.02)


def test_a_frame_is_the_log_of_what_a_windowed_transform_gives():
    rng = np.random.default_rng(0)
    sound = rng.standard_normal(4000).astype(np.float32)
    window = np.hanning(1025)[:-1]
    magnitudes = np.abs(np.fft.rfft(sound[1600 - 512 : 1600 + 512] * window))
    expected = np.log(mel_filters() @ magnitudes)
    assert log_mel(torch.from_numpy(sound))[10].numpy() == pytest.approx(expected, abs=1e-4)


def test_leading_dimensions_stay_and_silence_has_the_least_value():
    mel = log_mel(torch.zeros(3, 2, 1601))
    assert mel.shape == (3, 2, 11, 64)
    assert (mel == math.log(1e-5)).all()
    assert log_mel(torch.zeros(1600)).shape == (11, 64)


@pytest.mark.parametrize("hz", [440.0, 5000.0])
def test_a_tone_is_loudest_in_its_bin(hz):
    frame = log_mel(tone(hz))[50]
    assert abs(CENTERS_HZ[int(frame.argmax())] - hz) < 0.03 * hz + 12


def test_griffin_and_lim_give_back_pitch_place_and_level():
    sound = torch.stack([tone(600), torch.zeros(16000)])[None]
    sound[0, 0, 8000:] = 0
    mel = log_mel(sound)
    again = GriffinLim()(mel)
    assert again.shape == (1, 2, 16000)
    heard = again[0, 0]
    spectrum = np.abs(np.fft.rfft(heard[:8000].numpy()))
    assert spectrum.argmax() * 2 == pytest.approx(600, abs=10)
    assert heard[1000:7000].std() == pytest.approx(0.5 / math.sqrt(2), rel=0.15)
    assert heard[9000:].abs().max() < 0.02
    assert again[0, 1].abs().max() < 1e-3
    assert torch.equal(GriffinLim()(mel), again)
