"""The chart of a run's loss, as an image."""

import math
from collections.abc import Sequence

from PIL import Image, ImageDraw, ImageFont

from ..events import StepCompleted
from .smoothing import LossAverage, smooth_losses

_BACKGROUND, _GRID, _RAW, _SMOOTH, _TEXT = "#1e1e24", "#3a3a44", "#4f6d8f", "#8fd3ff", "#d8d8e0"
_VIDEO, _AUDIO = "#e0a060", "#70c090"
_MARGIN_PX = 44


def loss_chart(
    metrics: Sequence[StepCompleted], steps: int, size: tuple[int, int] = (512, 288)
) -> Image.Image:
    """The loss of every step so far (thin) and its average (bright); of a run with sound, the averages of
    video and audio too.

    Args:
        steps: the run's last step, the right edge of the chart.
        size: width and height in pixels.
    """
    image = Image.new("RGB", size, _BACKGROUND)
    draw = ImageDraw.Draw(image)
    font = ImageFont.load_default(12)
    width, height = size
    left, top, right, bottom = _MARGIN_PX, 26, width - 12, height - 24
    raw = [(each.step, each.loss) for each in metrics if math.isfinite(each.loss)]
    smooth = list(zip((each.step for each in metrics), smooth_losses(metrics), strict=True))
    smooth = [(step, loss) for step, loss in smooth if math.isfinite(loss)]
    video = _averages([(each.step, each.video_loss) for each in metrics])
    audio = _averages([(each.step, each.audio_loss) for each in metrics])
    low, high = _range([loss for _, loss in raw + video + audio])

    def place(step: int, loss: float) -> tuple[float, float]:
        x = left + (right - left) * step / max(1, steps)
        return x, bottom - (bottom - top) * (min(loss, high) - low) / (high - low)

    for k in range(5):
        y = top + (bottom - top) * k / 4
        draw.line([(left, y), (right, y)], fill=_GRID)
        value = f"{high - (high - low) * k / 4:.3f}"
        draw.text((left - 6, y), value, font=font, fill=_TEXT, anchor="rm")
    draw.text((left, bottom + 4), "0", font=font, fill=_TEXT)
    draw.text((right, bottom + 4), str(steps), font=font, fill=_TEXT, anchor="ra")
    if smooth:
        title = f"step {metrics[-1].step} / {steps}   loss {smooth[-1][1]:.4f} (average)"
        draw.text((left, 6), title, font=font, fill=_TEXT)
    edge = right
    for name, curve, colour in (("audio", audio, _AUDIO), ("video", video, _VIDEO)):
        if curve:
            text = f"{name} {curve[-1][1]:.4f}"
            draw.text((edge, 6), text, font=font, fill=colour, anchor="ra")
            edge -= math.ceil(draw.textlength(text, font=font)) + 8
    for curve, colour, line_px in (
        *((raw, _RAW, 1), (smooth, _SMOOTH, 2)),
        *((video, _VIDEO, 2), (audio, _AUDIO, 2)),
    ):
        points = [place(step, loss) for step, loss in curve]
        if len(points) > 1:
            draw.line(points, fill=colour, width=line_px)
    return image


def _averages(losses: Sequence[tuple[int, float]]) -> list[tuple[int, float]]:
    """Steps with the average of their loss, where there is one."""
    average = LossAverage()
    return [(step, average.add(loss)) for step, loss in losses if math.isfinite(loss)]


def _range(losses: Sequence[float]) -> tuple[float, float]:
    """From the lowest loss to one that leaves out the highest two in a hundred."""
    if not losses:
        return 0.0, 1.0
    ordered = sorted(losses)
    low, high = ordered[0], ordered[int(0.98 * (len(ordered) - 1))]
    return (low, high) if high > low else (low - 0.5, low + 0.5)
