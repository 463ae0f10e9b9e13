"""Charts as SVG, which stay sharp and need no script."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

WIDTH, HEIGHT = 720, 260
_LEFT, _TOP, _RIGHT, _BOTTOM = 56, 12, WIDTH - 12, HEIGHT - 28
_LINES = 4
_HIGHEST, _MANY = 0.98, 200
"""Of many values, the share that the chart has room for: single peaks would press the curve to the floor."""


@dataclass(frozen=True)
class Curve:
    """A line of a chart.

    Attributes:
        kind: its class in the page's style.
        points: step and value; what isn't finite is left out.
    """

    name: str
    kind: str
    points: Sequence[tuple[int, float | None]]

    @property
    def finite(self) -> list[tuple[int, float]]:
        return [(step, y) for step, y in self.points if y is not None and math.isfinite(y)]


@dataclass(frozen=True)
class Text:
    """A label at a place in pixels; `anchor` is SVG's."""

    x: float
    y: float
    text: str
    anchor: str = "start"


@dataclass(frozen=True)
class Drawing:
    """A chart in pixels, for the page's template."""

    lines: tuple[float, ...]
    labels: tuple[Text, ...]
    curves: tuple[tuple[Curve, str], ...]
    mark: float | None

    width, height = WIDTH, HEIGHT
    left, top, right, bottom = _LEFT, _TOP, _RIGHT, _BOTTOM


def draw(curves: Sequence[Curve], steps: int, mark: int | None = None) -> Drawing | None:
    """Places curves over steps 0 to `steps`; None where none has two points.

    Args:
        mark: a step to point out.
    """
    shown = [curve for curve in curves if len(curve.finite) > 1]
    if not shown:
        return None
    values = sorted(y for curve in shown for _, y in curve.finite)
    share = _HIGHEST if len(values) >= _MANY else 1
    low, high = values[0], values[int(share * (len(values) - 1))]
    if high <= low:
        low, high = low - 0.5, high + 0.5
    rows = [_TOP + (_BOTTOM - _TOP) * k / _LINES for k in range(_LINES + 1)]
    labels = [
        Text(_LEFT - 8, y + 4, f"{high - (high - low) * k / _LINES:.4g}", "end")
        for k, y in enumerate(rows)
    ]
    labels += [Text(_LEFT, HEIGHT - 8, "0"), Text(_RIGHT, HEIGHT - 8, f"{steps:,}", "end")]

    def x_of(step: int) -> float:
        return _LEFT + (_RIGHT - _LEFT) * step / max(1, steps)

    def point(step: int, y: float) -> str:
        height = (_BOTTOM - _TOP) * (min(y, high) - low) / (high - low)
        return f"{x_of(step):.1f},{_BOTTOM - height:.1f}"

    paths = tuple((curve, " ".join(point(*each) for each in curve.finite)) for curve in shown)
    return Drawing(tuple(rows), tuple(labels), paths, None if mark is None else x_of(mark))
