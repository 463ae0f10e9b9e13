"""Which layer of the transformer a LoRA file means, by whatever name."""

import re
from functools import cache

import torch
from diffusers import LTXVideoTransformer3DModel

from ..layout.names import comfy_name

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


@cache
def _by_flat_name() -> dict[str, str]:
    """The linear layers of a transformer with one block, by both names with underscores."""
    with torch.device("meta"):
        transformer = LTXVideoTransformer3DModel(num_layers=1)
    layers = [n for n, m in transformer.named_modules() if isinstance(m, torch.nn.Linear)]
    return {alias.replace(".", "_"): name for name in layers for alias in (name, comfy_name(name))}
