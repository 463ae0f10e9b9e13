"""The second miniature's vocoder for ComfyUI: a bank of tones, written into the layers of `LTX2Vocoder`.

With steady mel a convolutional vocoder repeats itself every hop of 10 ms, so multiples of 100 Hz are
all that it can hold; within that limit its weights can be written down. The first convolution picks
a mel bin for each tone and bends it: three leaky ReLUs make a piecewise linear exponential. The
transposed convolution draws windowed sines. Residual blocks are the identity, and the final tanh is
almost linear at such amplitudes.
"""

import math

import numpy as np
import torch
from diffusers.pipelines.ltx2.vocoder import LTX2Vocoder
from torch import Tensor

from ....media.mel_scale import BINS, CENTERS_HZ
from ..formats import HOP_SAMPLES, MEL_RATE
from ..mel import log_mel
from .sounds import NOISE

KERNEL = 4 * HOP_SAMPLES
_KNOTS = ((-2.6, 0.16), (-0.4, 0.95))
_SLOPE, _LAST_SLOPE = 0.1, 0.01
_LIFT = 20.0
_TEST_AMPLITUDE = 0.3


def tones() -> list[tuple[float, int]]:
    """(Hz, mel bin): every 100 Hz up to 2 kHz; above, one in every bin, at its nearest multiple."""
    low = [(float(hz), int(np.abs(CENTERS_HZ - hz).argmin())) for hz in range(100, 2001, 100)]
    high = [(round(hz / 100) * 100.0, i) for i, hz in enumerate(CENTERS_HZ) if 2060 < hz < 6500]
    return low + high


@torch.no_grad()
def build_tone_bank() -> LTX2Vocoder:
    """Log mel [B, 2, T, 64] to sound [B, 2, 160 T] at 16 kHz, float32."""
    bank = tones()
    units = 2 * len(bank) * (1 + len(_KNOTS)) + 1
    vocoder = LTX2Vocoder(
        hidden_channels=units + units % 2,
        upsample_kernel_sizes=[KERNEL],
        upsample_factors=[HOP_SAMPLES],
        resnet_kernel_sizes=[3],
        resnet_dilations=[[1]],
        output_sampling_rate=MEL_RATE,
    )
    for parameter in vocoder.parameters():
        parameter.zero_()
    waves = [_wave(hz, bin_, phase=number * number) for number, (hz, bin_) in enumerate(bank)]
    constant, unit = units - 1, 0
    vocoder.conv_in.bias[constant] = 1
    for side in range(2):
        for (_, bin_), wave in zip(bank, waves, strict=True):
            _write_tone(vocoder, unit, constant, side, bin_, wave)
            unit += 1 + len(_KNOTS)
        _write_output(vocoder, side)
    return vocoder.eval()


def _wave(hz: float, bin_: int, phase: float) -> Tensor:
    """What one mel frame adds to the sound for each magnitude in the bin, [KERNEL]."""
    window = torch.hann_window(KERNEL) / (KERNEL / HOP_SAMPLES / 2)
    seconds = (torch.arange(KERNEL) - KERNEL / 2) / MEL_RATE
    return window * torch.sin(2 * math.pi * hz * seconds + phase) * _gain(hz, bin_)


def _gain(hz: float, bin_: int) -> float:
    """The amplitude of a tone for each of its magnitude in the bin."""
    seconds = torch.arange(MEL_RATE) / MEL_RATE
    noise = torch.randn(MEL_RATE, generator=torch.Generator().manual_seed(0))
    wave = _TEST_AMPLITUDE * torch.sin(2 * math.pi * hz * seconds) + NOISE * noise
    return _TEST_AMPLITUDE / float(log_mel(wave)[20:-20, bin_].exp().mean())


def _write_tone(
    vocoder: LTX2Vocoder, unit: int, constant: int, side: int, bin_: int, wave: Tensor
) -> None:
    """One unit that is never negative, and one for each knot of the exponential.

    relu(x - knot) = (leaky(x - knot) - slope (x - knot)) / (1 - slope), x from the first unit.
    """
    conv_in, up = vocoder.conv_in, vocoder.upsamplers[0].weight
    source, out = side * BINS + bin_, 2 * side
    conv_in.weight[unit, source, 3] = 1
    conv_in.bias[unit] = _LIFT
    for number, (knot, slope) in enumerate(_KNOTS):
        bent = unit + 1 + number
        conv_in.weight[bent, source, 3] = 1
        conv_in.bias[bent] = -knot
        share = slope / (1 - _SLOPE) * wave
        up[bent, out] += share
        up[unit, out] -= _SLOPE * share
        up[constant, out] += _SLOPE * (_LIFT + knot) * share


def _write_output(vocoder: LTX2Vocoder, side: int) -> None:
    """A channel and its negative undo the last leaky ReLU."""
    up, conv_out = vocoder.upsamplers[0].weight, vocoder.conv_out.weight
    up[:, 2 * side + 1] = -up[:, 2 * side]
    conv_out[side, 2 * side, 3] = 1 / (1 + _LAST_SLOPE)
    conv_out[side, 2 * side + 1, 3] = -1 / (1 + _LAST_SLOPE)
