"""What presets of target modules take, for a browser that shows them at the node where they are chosen."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from aiohttp import web

from ...ltxv_train_core.config import LoRAConfig, ModelConfig, build
from ..comfy.model_files import with_files

PRESETS_ROUTE = "/ltxv_train/lora/presets"


def presets_of_model(request: web.Request, body: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The presets that a model has layers for, with their parameters and bytes.

    Args:
        body: `rank`, and `model_source` and `model_file` as the widgets of a node have them.

    Raises:
        ConfigurationError: the rank is none.
        ModelError: there is no such model, or its sizes aren't known before it is downloaded.
        NotAllowedError: it may not be read.
    """
    import diffusers  # noqa: F401  (whole, before names are taken from it: see `wait_for_diffusers`)

    from ...ltxv_train_core.training.preset_sizes import preset_sizes

    rank = build(LoRAConfig, {"rank": body.get("rank")}, "lora").rank
    named = {name: body[name] for name in ("model_source", "model_file") if name in body}
    model = build(ModelConfig, with_files(named), "model").model_source
    return [asdict(each) for each in preset_sizes(model, rank)]
