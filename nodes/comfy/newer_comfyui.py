"""Which ComfyUI a model family needs."""

from importlib.util import find_spec

from ...ltxv_train_core.families.names import AUDIO
from ...ltxv_train_core.families.registry import FAMILIES

TESTED = "0.33"
_MODULE = "comfy.ldm.lightricks.av_model"
"""Of the first ComfyUI that knows models with sound."""


def too_old_for(family: str) -> str | None:
    """What to say where this ComfyUI doesn't know a family's models; None where it does."""
    has_sound = any(AUDIO in each.streams for each in FAMILIES if each.name == family)
    if not has_sound or find_spec(_MODULE) is not None:
        return None
    return f"this ComfyUI doesn't know {family}: update ComfyUI ({TESTED} is tested)"
