"""The trained tensors of each `lora.adapter`, by the sizes of a layer alone. No torch.

Sizes: o outputs and i inputs of a layer, r rank.
"""

import math
from collections.abc import Mapping

from ..config import LoRAConfig

Shape = tuple[int, ...]

PLAIN = ("lora", "rslora")
"""Adapters that are a LoRA in a file."""


def adapter_shapes(config: LoRAConfig, outputs: int, inputs: int, rank: int) -> Mapping[str, Shape]:
    """The shapes of what is trained in a layer of a rank, by its name in a file."""
    pair = {"lora_A.weight": (rank, inputs), "lora_B.weight": (outputs, rank)}
    if config.adapter in PLAIN:
        return pair
    if config.adapter == "dora":
        return {**pair, "dora_scale": (1, inputs)}
    if config.adapter == "lokr":
        return _kronecker(rank, config.lokr_factor, outputs, inputs)
    if config.adapter == "loha":
        down, up = (rank, inputs), (outputs, rank)
        return {"hada_w1_a": up, "hada_w1_b": down, "hada_w2_a": up, "hada_w2_b": down}
    size = _largest_divisor(outputs, rank)
    return {"oft_blocks": (outputs // size, size, size)}


def adapter_numbers(config: LoRAConfig, outputs: int, inputs: int, rank: int) -> int:
    """How many numbers are trained in a layer of a rank."""
    return sum(map(math.prod, adapter_shapes(config, outputs, inputs, rank).values()))


def _kronecker(rank: int, factor: int, outputs: int, inputs: int) -> dict[str, Shape]:
    """As in LyCORIS (Yeh et al. 2023, arXiv 2309.14859): the second matrix has a rank where that makes it smaller."""
    first = tuple(
        _largest_divisor(count, min(factor or count, math.isqrt(count)))
        for count in (outputs, inputs)
    )
    rows, columns = outputs // first[0], inputs // first[1]
    if rank >= max(rows, columns) / 2:
        return {"lokr_w1": first, "lokr_w2": (rows, columns)}
    return {"lokr_w1": first, "lokr_w2_a": (rows, rank), "lokr_w2_b": (rank, columns)}


def _largest_divisor(count: int, limit: int) -> int:
    return next(size for size in range(min(count, limit), 0, -1) if count % size == 0)
