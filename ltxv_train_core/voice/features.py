"""What a sound is like, frame by frame: its spectrum, its loudness and its pitch. No torch.

Shapes: T frames of 10 ms, M = 64 mel bands, S samples.
"""

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from ..media.mel_scale import HOP, RATE, WINDOW, mel_filters
from ..media.sound import Sound, resample

Floats = NDArray[np.float64]

SILENCE_DB = -65.0
"""Frames below this are silent: they have no pitch. What an audio VAE makes of silence is near -70."""
_SMALLEST = 1e-6
LOWEST_HZ, HIGHEST_HZ = 60.0, 1300.0
# McLeod and Wyvill, A smarter way to find pitch (2005): the first peak that is nearly as high as the highest.
_PEAK_SHARE = 0.85
_CLEAREST = 0.6


@dataclass(frozen=True, eq=False)
class Features:
    """Of one sound, both sides together.

    Attributes:
        level_db: of each band, [T, M].
        loudness_db: root mean square over full scale, [T].
        pitch_hz: of the frames that have one.
    """

    level_db: Floats
    loudness_db: Floats
    pitch_hz: Floats


def features_of(sound: Sound) -> Features:
    """Measures a sound of any rate."""
    mono = resample(sound, RATE).samples.mean(0).astype(np.float64)
    frames = _frames(mono)
    spectra = np.abs(np.fft.rfft(frames * _window(), axis=1))
    level_db = 20 * np.log10(np.maximum(spectra @ _filters(), _SMALLEST))
    loudness_db = 20 * np.log10(np.maximum(np.sqrt((frames**2).mean(1)), _SMALLEST))
    return Features(level_db, loudness_db, pitches_hz(frames[loudness_db > SILENCE_DB]))


def pitches_hz(frames: Floats) -> Floats:
    """The fundamental of each frame [N, S] of 1,024 samples that has a clear one."""
    if not len(frames):
        return np.zeros(0)
    similarity = _similarity(frames)
    first, last = int(RATE / HIGHEST_HZ), int(RATE / LOWEST_HZ)
    inner = similarity[:, first : last + 1]
    is_peak = (inner >= similarity[:, first - 1 : last]) & (
        inner > similarity[:, first + 1 : last + 2]
    )
    peaks = np.where(is_peak, inner, 0.0)
    highest = peaks.max(1)
    lag = (peaks >= _PEAK_SHARE * highest[:, None]).argmax(1) + first
    rows = np.flatnonzero(highest > _CLEAREST)
    at = lag[rows]
    before, here, after = (similarity[rows, at + shift] for shift in (-1, 0, 1))
    # The vertex of the parabola through the peak and its neighbours.
    bend = np.minimum(before - 2 * here + after, -1e-9)
    pitch: Floats = RATE / (at + np.clip(0.5 * (before - after) / bend, -0.5, 0.5))
    return pitch


def _similarity(frames: Floats) -> Floats:
    """How much each frame is like itself so many samples later, [N, lags], from -1 to 1."""
    count = frames.shape[1]
    centred = frames - frames.mean(1, keepdims=True)
    spectrum = np.fft.rfft(centred, 2 * count, axis=1)
    product = np.fft.irfft(np.abs(spectrum) ** 2, axis=1)[:, : count // 2]
    energy = np.cumsum(centred**2, axis=1)
    lags = np.arange(count // 2)
    both = energy[:, count - 1 - lags] + energy[:, -1:]
    both[:, 1:] -= energy[:, lags[1:] - 1]
    similarity: Floats = 2 * product / np.maximum(both, 1e-12)
    return similarity


def _frames(mono: Floats) -> Floats:
    """Overlapping pieces, centred on multiples of the hop; the ends are mirrored."""
    half = WINDOW // 2
    padded = np.pad(mono, half, mode="reflect" if len(mono) > half else "constant")
    pieces: Floats = np.lib.stride_tricks.sliding_window_view(padded, WINDOW)[::HOP]
    return pieces


@cache
def _window() -> Floats:
    return np.hanning(WINDOW)


@cache
def _filters() -> Floats:
    """[frequencies, M]."""
    filters: Floats = mel_filters().astype(np.float64).T
    return filters
