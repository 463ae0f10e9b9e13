"""Pictures of sounds: the waveform of each side, and the spectrogram of both."""

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from .sound import Sound

WAVE_PX, SPECTROGRAM_PX = 28, 72
PICTURE_PX = 2 * WAVE_PX + SPECTROGRAM_PX
WINDOW_SECONDS = 0.03
LOWEST_HZ = 60.0
DECIBELS = 80.0
BACKGROUND = (24, 24, 24)
WAVE = (120, 200, 230)
HEAT = ((0, 0, 12), (70, 10, 95), (190, 50, 80), (250, 150, 40), (252, 250, 190))


def sound_picture(sound: Sound, width_px: int) -> Image.Image:
    """The left side's waveform, the right side's, and a spectrogram, `PICTURE_PX` high.

    The spectrogram has low frequencies below, on a logarithmic scale; black is 80 dB below the
    loudest.
    """
    waves = [_wave(side, width_px) for side in sound.samples]
    return Image.fromarray(np.concatenate([*waves, _spectrogram(sound, width_px)]))


def _wave(side: NDArray[np.float32], width_px: int) -> NDArray[np.uint8]:
    """What lies between the smallest and the largest sample of each column; square roots, so that soft
    sounds are seen beside loud ones."""
    side = np.sign(side) * np.sqrt(np.abs(side))
    pixels = np.full((WAVE_PX, width_px, 3), BACKGROUND, np.uint8)
    rows = (np.arange(WAVE_PX) + 0.5) / WAVE_PX * -2 + 1
    edges = np.linspace(0, len(side), width_px + 1).astype(int)
    for column, (start, end) in enumerate(pairwise(edges)):
        part = side[start : max(end, start + 1)]
        if len(part):
            half = 1 / WAVE_PX
            inside = (rows > part.min() - half) & (rows < part.max() + half)
            pixels[inside, column] = WAVE
    return pixels


def _spectrogram(sound: Sound, width_px: int) -> NDArray[np.uint8]:
    window = max(16, round(WINDOW_SECONDS * sound.rate))
    mono = np.pad(sound.samples.mean(0), (window // 2, window))
    starts = np.linspace(0, sound.samples.shape[1], width_px).astype(int)
    parts = np.stack([mono[start : start + window] for start in starts])
    levels = np.abs(np.fft.rfft(parts * np.hanning(window), axis=1))
    edges_hz = np.geomspace(LOWEST_HZ, sound.rate / 2, SPECTROGRAM_PX + 1)
    edges = np.clip((edges_hz * window / sound.rate).astype(int), 1, levels.shape[1] - 1)
    rows = np.maximum.reduceat(levels, edges[:-1], axis=1).T[::-1]  # the largest between two edges
    decibels = 20 * np.log10(rows + 1e-9)
    heat = np.clip(1 + (decibels - max(decibels.max(), -60)) / DECIBELS, 0, 1)
    steps = np.linspace(0, 1, len(HEAT))
    channels = [np.interp(heat, steps, [color[i] for color in HEAT]) for i in range(3)]
    return np.stack(channels, axis=-1).astype(np.uint8)
