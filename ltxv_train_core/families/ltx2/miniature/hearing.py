"""What is heard in a log-mel spectrogram: a pitch tracker and what follows from it. No torch.

Shapes: spectrograms are [2, T, M], left first; T mel frames (10 ms), M mel bins.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ....media.mel_scale import CENTERS_HZ
from ..formats import HOP_SAMPLES, MEL_RATE
from .sounds import BEEP_HZ, BEEP_PERIOD_SECONDS, BEEP_SECONDS, PITCHES_HZ

_EDGE_FRAMES = 8
_HIGHEST_PITCH_HZ = 2600.0
_HIGHEST_HARMONIC_HZ = 4300.0
_PEAK_SHARE = 0.4
_OCTAVES_FROM_MEDIAN = 0.5
_SMALLEST_GLIDE_SEMITONES = 2.0
_SMALLEST_PAN = 0.6
_SMALLEST_BUZZ_SHARE = 0.095
_SMALLEST_LOUD = 0.9
_BEEP_BAND_HZ = 300.0
_BEEP_MARGIN_SECONDS = 0.03

Spectrogram = NDArray[np.floating]


@dataclass(frozen=True)
class Heard:
    """What is heard in one clip.

    Attributes:
        pitch_hz: the median.
        color: whose pitch is nearest.
        motion: from the glide or, without one, the panning; None without either.
        glide_semitones: from the beginning to the end.
        pan: how much louder the right side gets, in nepers.
    """

    pitch_hz: float
    color: str
    motion: str | None
    timbre: str
    level: str
    glide_semitones: float
    pan: float


def listen(spectrogram: Spectrogram) -> Heard:
    """What is heard, the ends of the clip apart."""
    magnitudes = np.exp(np.asarray(spectrogram, np.float64)[:, _EDGE_FRAMES:-_EDGE_FRAMES])
    octaves = np.log2(pitch_track(magnitudes.sum(0)))
    middle = float(np.median(octaves))
    pitch_hz = 2**middle
    glide, pan = _glide(octaves, middle), _pan(magnitudes)
    spectrum = magnitudes.sum(0)
    low = 2.5 * pitch_hz > CENTERS_HZ
    harmonic = CENTERS_HZ < _HIGHEST_HARMONIC_HZ
    mean = spectrum.mean(0)
    buzz_share = float(mean[harmonic & ~low].sum() / mean[harmonic].sum())
    loudness = float(spectrum[:, low].max(1).mean())
    return Heard(
        pitch_hz=pitch_hz,
        color=min(PITCHES_HZ, key=lambda name: abs(math.log2(PITCHES_HZ[name]) - middle)),
        motion=_motion(glide, pan),
        timbre="buzz" if buzz_share > _SMALLEST_BUZZ_SHARE else "hum",
        level="loud" if loudness > _SMALLEST_LOUD else "soft",
        glide_semitones=glide,
        pan=pan,
    )


def pitch_track(magnitudes: NDArray[np.float64]) -> NDArray[np.float64]:
    """The fundamental of each frame in Hz [T]: the lowest clear peak of magnitudes [T, M]."""
    magnitudes = magnitudes[:, : np.searchsorted(CENTERS_HZ, _HIGHEST_PITCH_HZ)]
    return np.array([_lowest_peak_hz(frame) for frame in magnitudes])


def _lowest_peak_hz(frame: NDArray[np.float64]) -> float:
    inner = frame[1:-1]
    clear = (inner >= frame[:-2]) & (inner > frame[2:]) & (inner > _PEAK_SHARE * frame.max())
    peaks = np.flatnonzero(clear) + 1
    peak = int(peaks[0]) if len(peaks) else int(np.clip(frame.argmax(), 1, len(frame) - 2))
    # The vertex of the parabola through the peak and its neighbours.
    before, at, after = np.log(frame[peak - 1 : peak + 2])
    shift = np.clip(0.5 * (before - after) / min(before - 2 * at + after, -1e-6), -0.5, 0.5)
    return float(np.interp(peak + shift, np.arange(len(CENTERS_HZ)), CENTERS_HZ))


def _glide(octaves: NDArray[np.float64], middle: float) -> float:
    near = np.abs(octaves - middle) < _OCTAVES_FROM_MEDIAN
    if near.sum() < 6:
        return 0.0
    slope = np.polyfit(np.flatnonzero(near), octaves[near], 1)[0]
    return float(slope * len(octaves) * 12)


def _pan(magnitudes: NDArray[np.float64]) -> float:
    sides = np.log(magnitudes[:, :, CENTERS_HZ < _HIGHEST_PITCH_HZ].sum(2))
    balance = sides[1] - sides[0]
    quarter = len(balance) // 4
    return float(np.median(balance[-quarter:]) - np.median(balance[:quarter]))


def _motion(glide: float, pan: float) -> str | None:
    if abs(glide) > _SMALLEST_GLIDE_SEMITONES:
        return "up" if glide > 0 else "down"
    if abs(pan) > _SMALLEST_PAN:
        return "right" if pan > 0 else "left"
    return None


def beep_db(spectrogram: Spectrogram) -> float:
    """Level of the beep's band where it should sound less that in between, in dB."""
    band = np.abs(CENTERS_HZ - BEEP_HZ) < _BEEP_BAND_HZ
    magnitudes = np.exp(np.asarray(spectrogram, np.float64))
    level = np.log(magnitudes[:, :, band].max(2).mean(0))
    seconds = (np.arange(len(level)) * HOP_SAMPLES / MEL_RATE) % BEEP_PERIOD_SECONDS
    start = (BEEP_PERIOD_SECONDS - BEEP_SECONDS) / 2
    margin = _BEEP_MARGIN_SECONDS
    on = (seconds > start + margin) & (seconds < start + BEEP_SECONDS - margin)
    off = (seconds < margin) | (seconds > BEEP_PERIOD_SECONDS - margin)
    return float(20 / math.log(10) * (level[on].mean() - level[off].mean()))
