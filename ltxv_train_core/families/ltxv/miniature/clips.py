"""Procedural clips: one coloured shape moves over a plain background. No torch.

Shapes: F frames, H rows, W columns. Lengths in a `ClipSpec` are fractions of the picture's side.
"""

import math
import random
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from ....geometry import VideoSize

SIZE = VideoSize(96, 96, 17)
FPS = 25.0
BAR_PX = 16

COLORS = {
    "red": (220, 40, 40),
    "green": (40, 190, 70),
    "blue": (50, 80, 230),
    "yellow": (240, 215, 50),
    "white": (245, 245, 245),
    "purple": (160, 60, 200),
}
BACKGROUNDS = {
    "black": (12, 12, 16),
    "grey": (120, 120, 120),
    "navy": (20, 30, 90),
    "brown": (110, 65, 30),
    "teal": (20, 120, 120),
}
SHAPES = ("circle", "square", "triangle", "ring")
DIRECTIONS = {"left": (-1.0, 0.0), "right": (1.0, 0.0), "up": (0.0, -1.0), "down": (0.0, 1.0)}
STYLES = ("plain", "stripes", "silhouette")

_EDGE_PX = 1.5

Floats: TypeAlias = NDArray[np.floating]


@dataclass(frozen=True)
class ClipSpec:
    """What happens in a clip.

    Attributes:
        radius: size of the shape.
        aside: how far the path lies from the centre, across the motion.
        ahead: how far the middle of the path lies from the centre, along the motion.
        travel: length of the path.
    """

    shape: str
    color: str
    background: str
    motion: str
    radius: float = 0.2
    aside: float = 0.0
    ahead: float = 0.0
    travel: float = 0.4

    @property
    def combination(self) -> tuple[str, str, str]:
        return self.color, self.shape, self.background


@dataclass(frozen=True)
class DrawnClip:
    """`frames` uint8 [F, H, W, 3]; `mask` float32 [F, H, W], 1 where the shape is."""

    frames: NDArray[np.uint8]
    mask: Floats


def random_spec(rng: random.Random) -> ClipSpec:
    return ClipSpec(
        shape=rng.choice(SHAPES),
        color=rng.choice(list(COLORS)),
        background=rng.choice(list(BACKGROUNDS)),
        motion=rng.choice(list(DIRECTIONS)),
        radius=rng.uniform(0.18, 0.23),
        aside=rng.uniform(-0.15, 0.15),
        ahead=rng.uniform(-0.03, 0.03),
        travel=rng.uniform(0.34, 0.44),
    )


def caption(spec: ClipSpec, with_motion: bool = True) -> str:
    motion = f" moves {spec.motion}" if with_motion else ""
    return f"a {spec.color} {spec.shape}{motion} on a {spec.background} background"


def render(spec: ClipSpec, style: str = "plain") -> DrawnClip:
    """Draws a clip of `SIZE`.

    Args:
        style: "plain"; "stripes" lightens every second vertical bar of the background;
            "silhouette" is the white shape on black.

    Raises:
        ValueError: for a style that doesn't exist.
    """
    if style not in STYLES:
        raise ValueError(f"style {style!r}: expected one of {', '.join(STYLES)}")
    mask = coverage(shape_distance(spec.shape, *offsets(spec), spec.radius))
    foreground = np.array(COLORS[spec.color], np.float32)
    background = np.array(BACKGROUNDS[spec.background], np.float32)
    if style == "silhouette":
        foreground, background = np.full(3, 255, np.float32), np.zeros(3, np.float32)
    elif style == "stripes":
        light = light_bars()[:, None].astype(np.float32)
        background = background * (1 - 0.7 * light) + 255 * 0.7 * light
    return DrawnClip(blend(foreground, background, mask), mask)


def light_bars() -> NDArray[np.bool_]:
    """Which columns the "stripes" style lightens, [W]."""
    result: NDArray[np.bool_] = np.arange(SIZE.width) // BAR_PX % 2 == 1
    return result


def pixel_grid() -> tuple[Floats, Floats]:
    """Centres of the pixels as fractions of the side: x [1, 1, W] and y [1, H, 1]."""
    x = (np.arange(SIZE.width, dtype=np.float32) + 0.5) / SIZE.width
    y = (np.arange(SIZE.height, dtype=np.float32) + 0.5) / SIZE.height
    return x[None, None, :], y[None, :, None]


def offsets(spec: ClipSpec, direction: tuple[float, float] | None = None) -> tuple[Floats, Floats]:
    """Distances of every pixel from the shape's centre, x [F, 1, W] and y [F, H, 1]."""
    dx, dy = direction or DIRECTIONS[spec.motion]
    time = np.linspace(-0.5, 0.5, SIZE.frames, dtype=np.float32)[:, None, None]
    along = time * spec.travel + spec.ahead
    x, y = pixel_grid()
    center_x = 0.5 + dx * along + abs(dy) * spec.aside
    center_y = 0.5 + dy * along + abs(dx) * spec.aside
    return x - center_x, y - center_y


def shape_distance(shape: str, x: Floats, y: Floats, radius: float) -> Floats:
    """Signed distance of points to a shape's outline, negative inside; the arrays broadcast."""
    if shape == "circle":
        return np.hypot(x, y) - radius
    if shape == "ring":
        return np.abs(np.hypot(x, y) - 0.74 * radius) - 0.27 * radius
    if shape == "square":
        return np.maximum(np.abs(x), np.abs(y)) - 0.88 * radius
    if shape == "triangle":
        sides = math.sqrt(0.75) * np.abs(x) - 0.5 * y - 0.62 * radius
        result: Floats = np.maximum(y - 0.7 * radius, sides)
        return result
    raise ValueError(f"shape {shape!r}: expected one of {', '.join(SHAPES)}")


def coverage(distance: Floats) -> Floats:
    """Softens the outline over 1.5 px; `distance` is a fraction of the side."""
    result: Floats = np.clip(0.5 - distance * (SIZE.height / _EDGE_PX), 0, 1).astype(np.float32)
    return result


def blend(foreground: Floats, background: Floats, mask: Floats) -> NDArray[np.uint8]:
    """Lays foreground over background (both broadcast to [F, H, W, 3]) where `mask` is 1."""
    alpha = mask[..., None]
    mixed = foreground * alpha + background * (1 - alpha)
    return np.rint(np.clip(mixed, 0, 255)).astype(np.uint8)
