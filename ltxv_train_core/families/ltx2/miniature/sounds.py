"""Draws the sounds of scenes. No torch.

Shapes: S samples; stereo sounds are [2, S], left first.
"""

import math
import random

import numpy as np
from numpy.typing import NDArray

from ...ltxv.miniature import clips
from ..formats import MEL_RATE
from .scenes import SECONDS, Scene

SAMPLES = round(SECONDS * MEL_RATE)

# With steady input a vocoder repeats itself every hop of 10 ms: it can hold multiples of 100 Hz.
PITCHES_HZ = {
    "red": 200.0,
    "green": 300.0,
    "blue": 400.0,
    "yellow": 600.0,
    "white": 800.0,
    "purple": 1100.0,
}
AMPLITUDES = {"loud": 0.30, "soft": 0.06}
GLIDE_SEMITONES = {"up": 5.0, "down": -5.0, "left": 0.0, "right": 0.0}
PAN_PER_SIDE = 1.6
NOISE = 1e-3

BEEP_HZ = 5000.0
BEEP_AMPLITUDE = 0.10
BEEP_PERIOD_SECONDS = 0.24
BEEP_SECONDS = 0.12

_BUZZ_UP_TO_HZ = 4000.0
_FADE_SECONDS = 0.04
_BEEP_EDGE_SECONDS = 0.005

Samples = NDArray[np.float64]


def render_sound(scene: Scene, rng: random.Random, beep: bool = False) -> NDArray[np.float32]:
    """The sound of a scene, [2, S] at 16 kHz.

    Args:
        rng: draws phases and noise.
        beep: adds a beep of 5 kHz, which the base has never heard.
    """
    clip = scene.clip
    along = np.linspace(-0.5, 0.5, SAMPLES)
    glide = GLIDE_SEMITONES[clip.motion] * along / 12
    mono = tone(PITCHES_HZ[clip.color] * 2**glide, scene.timbre, rng)
    dx, dy = clips.DIRECTIONS[clip.motion]
    x = 0.5 + dx * (along * clip.travel + clip.ahead) + abs(dy) * clip.aside
    sound = panned(faded(AMPLITUDES[scene.level] * mono), 0.5 + PAN_PER_SIDE * (x - 0.5))
    if beep:
        seconds = np.arange(SAMPLES) / MEL_RATE
        sound = sound + BEEP_AMPLITUDE * beep_gate() * np.sin(2 * math.pi * BEEP_HZ * seconds)
    return with_noise(sound, NOISE, rng)


def tone(frequency_hz: Samples, timbre: str, rng: random.Random) -> Samples:
    """A tone whose frequency varies, [S], with a peak of about 1."""
    phase = 2 * math.pi * np.cumsum(frequency_hz) / MEL_RATE + rng.uniform(0, 2 * math.pi)
    if timbre == "hum":
        return 0.9 * np.sin(phase) + 0.25 * np.sin(2 * phase)
    harmonics = max(2, int(_BUZZ_UP_TO_HZ / frequency_hz.max()))
    result = np.zeros_like(phase)
    for k in range(1, harmonics + 1):
        result += np.sin(k * phase + k * k) * k**-0.6
    return 0.6 * result


def faded(sound: Samples) -> Samples:
    """With a ramp at both ends."""
    ramp = np.minimum(1, np.arange(len(sound)) / int(_FADE_SECONDS * MEL_RATE))
    return sound * ramp * ramp[::-1]


def panned(mono: Samples, place: Samples) -> Samples:
    """[2, S] of equal power; `place` [S] is 0 at the left and 1 at the right."""
    angle = np.clip(place, 0, 1) * math.pi / 2
    return np.stack([mono * np.cos(angle), mono * np.sin(angle)])


def with_noise(sound: Samples, amplitude: float, rng: random.Random) -> NDArray[np.float32]:
    noise = np.random.default_rng(rng.getrandbits(32)).standard_normal(sound.shape)
    return (sound + amplitude * noise).astype(np.float32)


def beep_gate() -> Samples:
    """1 where the beep sounds, [S]: in the middle of every period."""
    seconds = (np.arange(SAMPLES) / MEL_RATE) % BEEP_PERIOD_SECONDS
    start = (BEEP_PERIOD_SECONDS - BEEP_SECONDS) / 2
    inside = np.minimum(seconds - start, start + BEEP_SECONDS - seconds)
    return np.clip(inside / _BEEP_EDGE_SECONDS + 0.5, 0, 1)
