"""What a video shows, measured: does it follow its prompt, and what a LoRA has changed. No torch.

Videos are uint8 [F, H, W, 3] of `clips.SIZE`. Shapes: F frames, H rows, W columns, G groups of
columns that share a background colour.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from .clips import BACKGROUNDS, COLORS, SIZE, ClipSpec, light_bars, render
from .datasets import EvalItem
from .tasks import TASKS

_BORDER_PX = 4
# Below these a noisy sample would count as a shape, or a standing shape as a moving one.
_SMALLEST_CONTRAST = 45.0
_SMALLEST_AREA = 0.01
_SMALLEST_SHIFT_PX = 8.0
_ENDS_FRAMES = 5


@dataclass(frozen=True)
class Score:
    """What a task's videos are worth.

    Attributes:
        value: "stripes": contrast of the bars; "mirror": overlap with the mirrored shape (IoU);
            "up": share of videos that move up; "plain": share that follows the prompt in all.
        fidelity: share of videos with the prompt's `background`, `colour` and `motion`.
        details: further numbers of the task.
    """

    value: float
    fidelity: dict[str, float]
    details: dict[str, float]


@dataclass(frozen=True, eq=False)
class Observation:
    """What is seen in one video.

    Attributes:
        background: nearest of `BACKGROUNDS`.
        color: nearest of `COLORS`, or None without a shape.
        mask: bool [F, H, W], where the shape is.
    """

    background: str
    color: str | None
    mask: NDArray[np.bool_]

    @cached_property
    def centers(self) -> NDArray[np.float64]:
        return mask_centers(self.mask)

    @property
    def motion(self) -> str | None:
        """Direction from the first frames to the last, or None where nothing moves far."""
        if self.color is None:
            return None
        start, end = self.centers[:_ENDS_FRAMES], self.centers[-_ENDS_FRAMES:]
        if np.isnan(start).all() or np.isnan(end).all():
            return None
        dx, dy = np.nanmean(end, axis=0) - np.nanmean(start, axis=0)
        if math.hypot(dx, dy) < _SMALLEST_SHIFT_PX:
            return None
        if abs(dx) > abs(dy):
            return "right" if dx > 0 else "left"
        return "down" if dy > 0 else "up"


def score(task: str, videos: Sequence[NDArray[np.uint8]], evaluation: Sequence[EvalItem]) -> Score:
    """Scores one video per evaluation item of the task's data set."""
    specs = [item.spec for item in evaluation]
    follows = fidelity(videos, specs, TASKS[task].style)
    if task == "stripes":
        true_clips = [render(spec, "stripes").frames for spec in specs]
        details = {"contrast_of_true_clips": stripe_contrast(true_clips, specs)}
        return Score(stripe_contrast(videos, specs), follows, details)
    if task == "mirror":
        iou, error_px = overlap(videos, specs)
        return Score(iou, follows, {"centroid_error_px": error_px})
    if task == "up":
        return Score(upward_share(videos), follows, {})
    return Score(
        _share(all(_matches(observe(v), s)) for v, s in _pairs(videos, specs)), follows, {}
    )


def fidelity(
    videos: Sequence[NDArray[np.uint8]], specs: Sequence[ClipSpec], style: str = "plain"
) -> dict[str, float]:
    """Share of videos with their spec's background, colour and motion.

    Args:
        style: "stripes" expects the background in bars, and takes its colour from the dark ones.
    """
    found = [_matches(observe(v, style), s) for v, s in _pairs(videos, specs)]
    columns = zip(*found, strict=True)
    return {
        name: _share(column)
        for name, column in zip(("background", "colour", "motion"), columns, strict=True)
    }


def stripe_contrast(videos: Sequence[NDArray[np.uint8]], specs: Sequence[ClipSpec]) -> float:
    """Mean brightness of the light bars less that of the dark ones, of 1, beside the shapes."""
    light = light_bars()[None, None, :]
    contrasts = []
    for video, spec in _pairs(videos, specs):
        brightness = video.mean(axis=3) / 255
        beside = render(spec).mask < 0.02
        contrasts.append(brightness[beside & light].mean() - brightness[beside & ~light].mean())
    return float(np.mean(contrasts))


def overlap(videos: Sequence[NDArray[np.uint8]], specs: Sequence[ClipSpec]) -> tuple[float, float]:
    """Intersection over union with the specs' shapes, and the mean distance of centres in pixels.

    A frame in which no shape is seen counts a distance of the picture's side.
    """
    ious, errors = [], []
    for video, spec in _pairs(videos, specs):
        seen, true = observe(video), render(spec).mask > 0.5
        ious.append((seen.mask & true).sum() / (seen.mask | true).sum())
        distances = np.linalg.norm(seen.centers - mask_centers(true), axis=1)
        errors.append(np.nan_to_num(distances, nan=float(SIZE.width)).mean())
    return float(np.mean(ious)), float(np.mean(errors))


def upward_share(videos: Sequence[NDArray[np.uint8]]) -> float:
    return _share(observe(video).motion == "up" for video in videos)


def observe(video: NDArray[np.uint8], style: str = "plain") -> Observation:
    """Finds the shape as what differs from the background that the picture's border shows."""
    pixels = video.astype(np.float32)
    groups = [np.ones(SIZE.width, bool)]
    if style == "stripes":
        groups = [~light_bars(), light_bars()]
    colors = np.stack([_border_color(pixels, columns) for columns in groups])
    distances = np.linalg.norm(pixels[None] - colors[:, None, None, None], axis=-1)
    own = np.select([columns[None, None] for columns in groups], list(distances))
    mask = own > max(_SMALLEST_CONTRAST, 0.5 * float(np.quantile(own[::4], 0.97)))
    background = _nearest(colors[0], BACKGROUNDS)
    if mask.mean() < _SMALLEST_AREA:
        return Observation(background, None, mask)
    clearest = distances.min(axis=0)[mask]
    core = pixels[mask][clearest >= np.median(clearest)]
    return Observation(background, _nearest(np.median(core, axis=0), COLORS), mask)


def mask_centers(mask: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Centres [F, 2] (x, y) in pixels; NaN where a frame shows nothing."""
    area = mask.sum(axis=(1, 2)).astype(float)
    area[area == 0] = np.nan
    x = (mask.sum(axis=1) * (np.arange(mask.shape[2]) + 0.5)).sum(axis=1) / area
    y = (mask.sum(axis=2) * (np.arange(mask.shape[1]) + 0.5)).sum(axis=1) / area
    return np.stack([x, y], axis=1)


def _pairs(
    videos: Sequence[NDArray[np.uint8]], specs: Sequence[ClipSpec]
) -> Iterator[tuple[NDArray[np.uint8], ClipSpec]]:
    assert len(videos) == len(specs) > 0, "one video per spec"
    return zip(videos, specs, strict=True)


def _matches(seen: Observation, spec: ClipSpec) -> tuple[bool, bool, bool]:
    return (
        seen.background == spec.background,
        seen.color == spec.color,
        seen.motion == spec.motion,
    )


def _share(hits: Iterable[bool]) -> float:
    return float(np.mean(list(hits)))


def _border_color(pixels: NDArray[np.float32], columns: NDArray[np.bool_]) -> NDArray[np.float32]:
    border = np.ones(pixels.shape[1:3], bool)
    border[_BORDER_PX:-_BORDER_PX, _BORDER_PX:-_BORDER_PX] = False
    return np.median(pixels[:, border & columns[None]], axis=(0, 1))


def _nearest(color: NDArray[np.float32], names: dict[str, tuple[int, int, int]]) -> str:
    return min(names, key=lambda name: float(np.square(color - names[name]).sum()))
