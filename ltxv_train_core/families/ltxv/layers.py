"""Names of the transformer's layers, and which of them a LoRA file means, by whatever name."""

import re
from collections.abc import Mapping
from functools import cache
from typing import Any

from .key_names import comfy_name, diffusers_name
from .versions import TRANSFORMER_13B

__all__ = [
    "TRANSFORMER_NAMES",
    "comfy_name",
    "diffusers_name",
    "layer_name",
    "module_names",
    "new_transformer",
]

TRANSFORMER_NAMES = (
    *("transformer_blocks.", "proj_in.", "proj_out.", "time_embed.", "caption_projection."),
    "scale_shift_table",
)
_BLOCK = re.compile(r"transformer_blocks_([0-9]{1,4})_")


def layer_name(written: str) -> str | None:
    """diffusers' name of a linear layer, or None when an LTX-Video transformer has no such layer.

    Args:
        written: the name without prefix, diffusers' or ComfyUI's, with dots or underscores.
    """
    flat = written.replace(".", "_")
    block = _BLOCK.match(flat)
    if block:
        flat = f"transformer_blocks_0_{flat[block.end() :]}"
    name = _by_flat_name().get(flat)
    if name and block:
        return name.replace("transformer_blocks.0.", f"transformer_blocks.{block[1]}.")
    return name


def module_names(blocks: int | None) -> tuple[list[str], list[str]]:
    """The modules of a transformer: linear layers, and others.

    The names are the same for every version; only the number of blocks differs.

    Args:
        blocks: None where it isn't known: as many as the largest version has.
    """
    blocks = blocks or TRANSFORMER_13B["num_layers"]
    linear, others = _of_one_block()
    return _in_blocks(linear, blocks), _in_blocks(others, blocks)


def _in_blocks(names: list[str], blocks: int) -> list[str]:
    first = "transformer_blocks.0"
    return [
        name.replace(first, f"transformer_blocks.{number}", 1)
        for name in names
        for number in range(blocks if name.startswith(first) else 1)
    ]


def new_transformer(config: Mapping[str, object]) -> Any:
    """A transformer of a configuration in diffusers' words; to be called on the meta device."""
    from diffusers import LTXVideoTransformer3DModel

    return LTXVideoTransformer3DModel.from_config(dict(config))


@cache
def _of_one_block() -> tuple[list[str], list[str]]:
    """The linear layers and the other modules of a transformer with one block."""
    import torch
    from diffusers import LTXVideoTransformer3DModel

    with torch.device("meta"):
        modules = dict(LTXVideoTransformer3DModel(num_layers=1).named_modules())
    linear = [name for name, module in modules.items() if isinstance(module, torch.nn.Linear)]
    return linear, [name for name in modules if name and name not in linear]


@cache
def _by_flat_name() -> dict[str, str]:
    """The linear layers of a transformer with one block, by both names with underscores."""
    layers = _of_one_block()[0]
    return {alias.replace(".", "_"): name for name in layers for alias in (name, comfy_name(name))}
