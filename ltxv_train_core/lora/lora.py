"""A LoRA in memory, whatever file it came from.

Shapes: r rank, i inputs, o outputs of a layer.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

from torch import Tensor


@dataclass(frozen=True)
class LoRALayer:
    """What a LoRA does to one linear layer: it adds `up @ down * alpha / r` to its weight.

    Attributes:
        down: [r, i], called lora_A or lora_down in files.
        up: [o, r], called lora_B or lora_up in files.
    """

    down: Tensor
    up: Tensor
    alpha: float

    @property
    def rank(self) -> int:
        """r: the rows of `down`."""
        return self.down.shape[0]

    @property
    def scale(self) -> float:
        """The factor on `up @ down`: alpha / r."""
        return self.alpha / self.rank

    def change(self) -> Tensor:
        """What is added to the weight, float32 [o, i]."""
        return (self.up.float() * self.scale) @ self.down.float()

    def folded(self) -> "LoRALayer":
        """The same change with alpha = r, so that a reader who knows no alpha applies it rightly.

        The number format stays, unless the scaled values would be rounded in it: then float32.
        """
        scaled = self.up.float() * self.scale
        same = scaled.to(self.up.dtype)
        up = same if (same.float() == scaled).all() else scaled
        return LoRALayer(self.down, up, float(self.rank))


LoRA: TypeAlias = Mapping[str, LoRALayer]
"""The layers of a LoRA, by diffusers' names."""


def largest_rank(lora: LoRA) -> int:
    """The largest rank of its layers. A LoRA has at least one."""
    return max(layer.rank for layer in lora.values())
