"""Built-in filters for reference videos: edges, grayscale, blur, downscale.

The filters are those of FFmpeg's libavfilter, which comes with PyAV: deterministic, fast, and the same
on every platform. F frames, H W pixels.
"""

from collections.abc import Iterable, Iterator
from fractions import Fraction

import av
import numpy as np
from av.filter import Graph

from ..config import ReferenceFilter

GREY_KINDS = ("canny", "grayscale")
# FFmpeg's filters want one; nothing of it stays in the file.
TIME_BASE = Fraction(1, 25)
UNTIE = "0m=0 0 0 0 5 2 0 1 0:0rdiv=0.125"
"""A shift by a fraction of a pixel. libavfilter keeps an edge where the gradient has one largest pixel;
a perfectly sharp one, as drawn pictures have, has two."""


def filter_identity(effect: ReferenceFilter) -> str:
    """A text that changes when the result of the filter changes."""
    return " ".join(f"{name}={options}" for name, options in _steps(effect, 1000, 1000))


def apply_filter(effect: ReferenceFilter, frames: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
    """uint8 RGB [H, W, 3] to the same, one by one; all frames have one size."""
    graph: Graph | None = None
    for pixels in frames:
        if graph is None:
            graph = _graph(effect, *pixels.shape[:2])
        graph.push(av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgb24"))
        made = graph.pull()
        assert isinstance(made, av.VideoFrame)
        yield made.to_ndarray(format="rgb24")


def _graph(effect: ReferenceFilter, height: int, width: int) -> Graph:
    graph = Graph()
    rgb = av.VideoFormat("rgb24", width, height)
    last = graph.add_buffer(width=width, height=height, format=rgb, time_base=TIME_BASE)
    for name, options in _steps(effect, height, width):
        step = graph.add(name, options)
        last.link_to(step)
        last = step
    last.link_to(graph.add("buffersink"))
    graph.configure()
    return graph


def _steps(effect: ReferenceFilter, height: int, width: int) -> list[tuple[str, str]]:
    """The libavfilter filters, in order, with their options."""
    rgb = ("format", "rgb24")
    if effect.kind == "blur":
        return [("format", "gbrp"), ("gblur", f"sigma={effect.sigma}:steps=2"), rgb]
    if effect.kind == "downscale":
        small = (max(1, round(width / effect.factor)), max(1, round(height / effect.factor)))
        return [
            ("scale", f"{small[0]}:{small[1]}:flags=area+accurate_rnd"),
            ("scale", f"{width}:{height}:flags=bicubic+accurate_rnd"),
            rgb,
        ]
    grey = ("format", "gray")
    if effect.kind == "grayscale":
        return [grey, rgb]
    edges = f"low={effect.low}:high={effect.high}:mode=wires"
    return [grey, ("convolution", UNTIE), ("edgedetect", edges), rgb]
