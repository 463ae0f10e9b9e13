"""Products of one input with several linear layers, in which a LoRA may be.

peft computes a layer's LoRA as products and sums of their own. Here what the layers of one input have in
common is computed once, and what a LoRA adds is added while it is multiplied.

Shapes: "..." batch and tokens, i inputs and o outputs of a layer, r rank.
"""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def products(layers: Sequence[Any], x: Tensor) -> list[Tensor]:
    """What each of some layers, with a LoRA or without, makes of x [..., i]: [..., o]."""
    loras = [_plain_lora(layer) for layer in layers]
    downs = [lora[0] for lora in loras if lora is not None]
    lows: list[Tensor] = []
    if downs:
        all_low = F.linear(x, torch.cat(downs) if len(downs) > 1 else downs[0])
        lows = list(all_low.split([len(down) for down in downs], dim=-1))
    made = []
    for layer, lora in zip(layers, loras, strict=True):
        if lora is None:
            made.append(layer(x))
        else:
            made.append(_with_lora(layer.base_layer(x), lows.pop(0), lora[1]))
    return made


def product(layer: Any, x: Tensor) -> Tensor:
    """What one layer makes of x [..., i]: [..., o]."""
    return products([layer], x)[0]


def _plain_lora(layer: Any) -> tuple[Tensor, Tensor] | None:
    """The LoRA of a layer: down [r, i], and up [o, r] with its scale. None where there is none, or one that
    is more than these two."""
    names = list(getattr(layer, "lora_A", ()))
    if len(names) != 1 or layer.disable_adapters or layer.merged or layer.lora_variant:
        return None
    (name,) = names
    if not isinstance(layer.lora_dropout[name], nn.Identity):
        return None
    scale, up = layer.scaling[name], layer.lora_B[name].weight
    return layer.lora_A[name].weight, up if scale == 1 else up * scale


def _with_lora(made: Tensor, low: Tensor, up: Tensor) -> Tensor:
    """What a layer made [..., o] and low [..., r] @ up.T, added while it is multiplied."""
    tokens, low = made.flatten(0, -2), low.flatten(0, -2).to(made.dtype)
    return torch.addmm(tokens, low, up.to(made.dtype).T).view_as(made)
