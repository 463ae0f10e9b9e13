"""Texts in pictures and videos, for the canvas on which a file is dropped: a graph, or why there is none."""

import json
from collections.abc import Mapping
from contextlib import suppress

from PIL.PngImagePlugin import PngInfo


def no_graph(why: str) -> dict[str, str]:
    """The text that says why a file brings no graph, as JSON; the panel looks for how it begins."""
    return {"no_graph": json.dumps(f"No graph in this file: {why}")}


def png_texts(texts: Mapping[str, str]) -> PngInfo:
    """As every version of ComfyUI's interface reads them: in ASCII. A text that is no JSON is left out."""
    info = PngInfo()
    for name, text in texts.items():
        with suppress(ValueError):
            info.add_text(name, json.dumps(json.loads(text)))
    return info
