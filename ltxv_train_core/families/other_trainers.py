"""How other trainers see the streams of a family; see `flow_matching.compat`."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from .ltxv.video_format import NAME

if TYPE_CHECKING:
    from .base import Stream


TRAINED_FAMILIES = {"ltx-video-trainer": NAME}
"""By trainer, the family that it trains."""


def streams_as_in(trainer: str, streams: Mapping[str, Stream]) -> Mapping[str, Stream]:
    """Streams as a trainer sees them. LTX-Video-Trainer: no frame is at a causal position, neither of a
    target nor of a reference, and the shift has no limit."""
    from .ltxv.video_stream import VideoStream

    assert trainer in TRAINED_FAMILIES
    return {
        name: replace(stream, causal=False, causal_references=False, shift_limit=math.inf)
        if isinstance(stream, VideoStream)
        else stream
        for name, stream in streams.items()
    }
