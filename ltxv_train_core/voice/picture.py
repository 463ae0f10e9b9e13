"""A picture of what was heard: spectrograms of samples beside the nearest clip, and histograms of all."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from ..media.sheet import BACKGROUND, FONT_PX, INK, contact_sheet
from ..media.sound import Sound
from ..media.sound_picture import sound_picture
from .features import HIGHEST_HZ, LOWEST_HZ, SILENCE_DB, Features, Floats

COLUMN_PX = 250
_TITLE_PX = FONT_PX + 6
_HISTOGRAM_PX = 150
_MARGIN_PX = 8
_BINS = 40
_COLOURS = {"clips": (150, 150, 150), "before": (240, 150, 60), "after": (100, 190, 240)}
_SPANS = {"pitch, Hz": (LOWEST_HZ, HIGHEST_HZ), "loudness, dB": (SILENCE_DB, 0.0)}


@dataclass(frozen=True)
class Row:
    """A prompt with sounds by what stands above each, from left to right."""

    prompt: str
    sounds: Mapping[str, Sound]


def voice_picture(rows: Sequence[Row], heard: Mapping[str, Sequence[Features]]) -> Image.Image:
    """Spectrograms row by row, and below them histograms of pitch and loudness.

    Args:
        heard: what is in the histograms: "clips", "before" and "after".
    """
    pictures = [[_titled(title, sound) for title, sound in row.sounds.items()] for row in rows]
    sheet = contact_sheet(pictures, [row.prompt for row in rows], frames=1)
    histograms = _histograms(heard, sheet.width)
    both = Image.new("RGB", (sheet.width, sheet.height + histograms.height), BACKGROUND)
    both.paste(sheet)
    both.paste(histograms, (0, sheet.height))
    return both


def _titled(title: str, sound: Sound) -> np.ndarray:
    """A sound's picture under its title, as a video of one frame."""
    picture = sound_picture(sound, COLUMN_PX)
    both = Image.new("RGB", (COLUMN_PX, picture.height + _TITLE_PX), BACKGROUND)
    both.paste(picture, (0, _TITLE_PX))
    font = ImageFont.load_default(FONT_PX)
    ImageDraw.Draw(both).text((0, 0), title, fill=INK, font=font)
    return np.asarray(both)[None]


def _histograms(heard: Mapping[str, Sequence[Features]], width_px: int) -> Image.Image:
    drawn = Image.new("RGB", (width_px, _HISTOGRAM_PX), BACKGROUND)
    draw = ImageDraw.Draw(drawn)
    font = ImageFont.load_default(FONT_PX)
    each_px = (width_px - 3 * _MARGIN_PX) // 2
    for number, (title, (least, most)) in enumerate(_SPANS.items()):
        left = _MARGIN_PX + number * (each_px + _MARGIN_PX)
        shares = {name: _shares(sounds, number == 0) for name, sounds in heard.items()}
        tallest = max((share.max() for share in shares.values()), default=0.0) or 1.0
        draw.text((left, 0), f"{title}: {least:.0f} to {most:.0f}", fill=INK, font=font)
        bottom, height = _HISTOGRAM_PX - _MARGIN_PX, _HISTOGRAM_PX - 2 * _MARGIN_PX - _TITLE_PX
        draw.line([(left, bottom), (left + each_px, bottom)], fill=(80, 80, 80))
        for name, share in shares.items():
            steps = np.repeat(share / tallest, 2)
            xs = left + np.repeat(np.arange(_BINS + 1), 2)[1:-1] * each_px / _BINS
            points = [(x, bottom - y * height) for x, y in zip(xs, steps, strict=True)]
            draw.line([(float(x), float(y)) for x, y in points], fill=_COLOURS[name], width=2)
    _legend(draw, list(heard), width_px - _MARGIN_PX)
    return drawn


def _legend(draw: ImageDraw.ImageDraw, names: Sequence[str], right: int) -> None:
    font = ImageFont.load_default(FONT_PX)
    for name in reversed(names):
        right -= int(font.getlength(name)) + _MARGIN_PX
        draw.text((right, 0), name, fill=_COLOURS[name], font=font)


def _shares(sounds: Sequence[Features], of_pitch: bool) -> Floats:
    """Share of the frames in each bin; pitches on a logarithmic scale, frames that are silent apart."""
    if of_pitch:
        values = np.concatenate([each.pitch_hz for each in sounds])
        edges = np.geomspace(LOWEST_HZ, HIGHEST_HZ, _BINS + 1)
    else:
        values = np.concatenate([each.loudness_db for each in sounds])
        edges = np.linspace(SILENCE_DB, 0, _BINS + 1)
    counts = np.histogram(values, edges)[0]
    shares: Floats = counts / max(1, counts.sum())
    return shares
