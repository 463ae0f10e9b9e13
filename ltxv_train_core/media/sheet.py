"""Contact sheets: several videos in one image, a few frames of each, and their sounds below."""

from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from .sound import Sound
from .sound_picture import PICTURE_PX, sound_picture

LARGEST_THUMBNAIL_PX = 256
FRAME_GAP_PX = 2
VIDEO_GAP_PX = 16
MARGIN_PX = 8
FONT_PX = 14
BACKGROUND = (24, 24, 24)
INK = (230, 230, 230)


def contact_sheet(
    rows: list[list[np.ndarray]],
    labels: list[str] | None = None,
    frames: int = 5,
    sounds: list[list[Sound | None]] | None = None,
) -> Image.Image:
    """Lays videos out in rows, each as a strip of evenly spaced frames from first to last.

    Args:
        rows: videos, uint8 RGB [frames, height, width, 3], of any sizes; frames whose longer
            side exceeds 256 pixels are shown smaller.
        labels: one text above each row, wrapped to the sheet's width.
        frames: frames shown of each video, fewer where it has fewer.
        sounds: of each video, drawn below its strip; None where it has none.
    """
    assert labels is None or len(labels) == len(rows), "one label per row"
    heard = sounds or [[None] * len(row) for row in rows]
    strips = [
        [
            _with_sound(_strip(video, frames), sound)
            for video, sound in zip(row, of_row, strict=True)
        ]
        for row, of_row in zip(rows, heard, strict=True)
    ]
    columns = max((len(row) for row in strips), default=0)
    widths = [max(row[i].width for row in strips if i < len(row)) for i in range(columns)]
    width = 2 * MARGIN_PX + sum(widths) + VIDEO_GAP_PX * max(0, columns - 1)
    font = ImageFont.load_default(FONT_PX)
    texts = [_wrap(label, font, width - 2 * MARGIN_PX) for label in labels or [""] * len(rows)]
    line_px = FONT_PX + 4
    heights = [
        len(text) * line_px + max((strip.height for strip in row), default=0) + MARGIN_PX
        for text, row in zip(texts, strips, strict=True)
    ]

    sheet = Image.new("RGB", (width, MARGIN_PX + sum(heights)), BACKGROUND)
    draw = ImageDraw.Draw(sheet)
    top = MARGIN_PX
    for row, text, height in zip(strips, texts, heights, strict=True):
        for i, line in enumerate(text):
            draw.text((MARGIN_PX, top + i * line_px), line, fill=INK, font=font)
        left = MARGIN_PX
        for strip, column_px in zip(row, widths, strict=False):
            sheet.paste(strip, (left, top + len(text) * line_px))
            left += column_px + VIDEO_GAP_PX
        top += height
    return sheet


def _strip(video: np.ndarray, frames: int) -> Image.Image:
    """Evenly spaced frames of one video, side by side."""
    count = min(frames, len(video))
    chosen = np.linspace(0, len(video) - 1, count).round().astype(int)
    height, width = video.shape[1:3]
    scale = min(1.0, LARGEST_THUMBNAIL_PX / max(height, width))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    strip = Image.new("RGB", (count * size[0] + FRAME_GAP_PX * (count - 1), size[1]), BACKGROUND)
    for i, index in enumerate(chosen):
        picture = Image.fromarray(video[index])
        if scale < 1:
            picture = picture.resize(size, Image.Resampling.LANCZOS)
        strip.paste(picture, (i * (size[0] + FRAME_GAP_PX), 0))
    return strip


def _with_sound(strip: Image.Image, sound: Sound | None) -> Image.Image:
    if sound is None:
        return strip
    both = Image.new("RGB", (strip.width, strip.height + FRAME_GAP_PX + PICTURE_PX), BACKGROUND)
    both.paste(strip)
    both.paste(sound_picture(sound, strip.width), (0, strip.height + FRAME_GAP_PX))
    return both


def _wrap(text: str, font: Any, width_px: int) -> list[str]:
    """Breaks a text between words into lines that fit."""
    lines: list[str] = []
    for word in text.split():
        longer = f"{lines[-1]} {word}" if lines else word
        if lines and font.getlength(longer) <= width_px:
            lines[-1] = longer
        else:
            lines.append(word)
    return lines
