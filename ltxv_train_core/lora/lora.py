"""A LoRA or another adapter in memory, whatever file it came from.

Shapes: r rank, i inputs, o outputs of a layer, k blocks of n outputs.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import ClassVar, TypeAlias

import torch
from torch import Tensor


@dataclass(frozen=True)
class AdapterLayer(ABC):
    """What an adapter does to the weight [o, i] of one linear layer.

    Attributes:
        kind: its name in `lora.adapter`.
    """

    kind: ClassVar[str]

    @property
    @abstractmethod
    def shape(self) -> tuple[int, int]:
        """(o, i) of the weight that it changes; -1 where it doesn't tell."""

    @abstractmethod
    def added(self, weight: Tensor) -> Tensor:
        """What is added to a weight, both float32 [o, i]."""

    def suits(self, shape: Sequence[int]) -> bool:
        """Whether it can change a weight of a shape."""
        rows, columns = self.shape
        return (rows, columns if columns >= 0 else shape[-1]) == tuple(shape)

    @property
    def tensors(self) -> list[Tensor]:
        """All that it holds."""
        values = (getattr(self, field.name) for field in fields(self))
        return [value for value in values if isinstance(value, Tensor)]


@dataclass(frozen=True)
class LoRALayer(AdapterLayer):
    """What a LoRA does to one linear layer: it adds `up @ down * alpha / r` to its weight.

    Attributes:
        down: [r, i], called lora_A or lora_down in files.
        up: [o, r], called lora_B or lora_up in files.
    """

    kind = "lora"
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

    @property
    def shape(self) -> tuple[int, int]:
        return self.up.shape[0], self.down.shape[1]

    def change(self) -> Tensor:
        """What is added to the weight, float32 [o, i]."""
        return (self.up.float() * self.scale) @ self.down.float()

    def added(self, weight: Tensor) -> Tensor:
        return self.change()

    def folded(self) -> "LoRALayer":
        """The same change with alpha = r, so that a reader who knows no alpha applies it rightly.

        The number format stays, unless the scaled values would be rounded in it: then float32.
        """
        scaled = self.up.float() * self.scale
        same = scaled.to(self.up.dtype)
        up = same if (same.float() == scaled).all() else scaled
        return LoRALayer(self.down, up, float(self.rank))


@dataclass(frozen=True)
class DoRALayer(AdapterLayer):
    """A LoRA and the lengths of the weight's columns, or rows, with it (Liu et al. 2024, arXiv 2402.09353).

    Attributes:
        lora: what is added before.
        scale: [1, i] lengths of columns, or [o, 1] of rows. ComfyUI divides columns by their length with the LoRA, as
            the paper does, and rows by their length without it.
    """

    kind = "dora"
    lora: LoRALayer
    scale: Tensor

    @property
    def shape(self) -> tuple[int, int]:
        return self.lora.shape

    @property
    def has_columns(self) -> bool:
        """Whether it holds the lengths of columns."""
        return self.scale.shape[0] != self.shape[0]

    @property
    def tensors(self) -> list[Tensor]:
        return [*self.lora.tensors, self.scale]

    def added(self, weight: Tensor) -> Tensor:
        changed = weight + self.lora.change()
        lengths = changed.norm(dim=0)[None] if self.has_columns else weight.norm(dim=1)[:, None]
        scaled: Tensor = changed * (self.scale.float() / (lengths + EPSILON))
        return scaled - weight


EPSILON = torch.finfo(torch.float32).eps
"""ComfyUI adds it to the lengths of a DoRA."""


@dataclass(frozen=True)
class LoKrLayer(AdapterLayer):
    """It adds a Kronecker product `first (x) second` to the weight; the scale is in `first`.

    Attributes:
        second: whole, or the product of `second_up` and `second_down`.
    """

    kind = "lokr"
    first: Tensor
    second: Tensor | None
    second_up: Tensor | None = None
    second_down: Tensor | None = None

    @property
    def shape(self) -> tuple[int, int]:
        rows, columns = self.first.shape
        left, right = self.second_up, self.second_down
        if self.second is not None or left is None or right is None:
            left = right = self._second()
        # Not of their product: a file may hold thin matrices of any length.
        return rows * left.shape[0], columns * right.shape[1]

    def change(self) -> Tensor:
        """What is added to the weight, float32 [o, i]."""
        return torch.kron(self.first.float(), self._second())

    def added(self, weight: Tensor) -> Tensor:
        return self.change()

    def _second(self) -> Tensor:
        if self.second is not None:
            return self.second.float()
        assert self.second_up is not None
        assert self.second_down is not None
        return self.second_up.float() @ self.second_down.float()


@dataclass(frozen=True)
class LoHaLayer(AdapterLayer):
    """It adds the product of two LoRAs, value by value, to the weight; the scale is in `first_up`
    (Hyeon-Woo et al. 2021, arXiv 2108.06098)."""

    kind = "loha"
    first_up: Tensor
    first_down: Tensor
    second_up: Tensor
    second_down: Tensor

    @property
    def shape(self) -> tuple[int, int]:
        return self.first_up.shape[0], self.first_down.shape[1]

    def change(self) -> Tensor:
        """What is added to the weight, float32 [o, i]."""
        first = self.first_up.float() @ self.first_down.float()
        return first * (self.second_up.float() @ self.second_down.float())

    def added(self, weight: Tensor) -> Tensor:
        return self.change()


@dataclass(frozen=True)
class OFTLayer(AdapterLayer):
    """It rotates the rows of the weight in blocks (Qiu et al. 2023, arXiv 2306.07280), as ComfyUI reads it.

    Attributes:
        blocks: [k, n, n]; the rotations are their Cayley transforms.
        limit: of the norm of what is transformed, over all blocks; 0 for none. Files call it alpha.
    """

    kind = "oft"
    blocks: Tensor
    limit: float = 0.0

    @property
    def shape(self) -> tuple[int, int]:
        return self.blocks.shape[0] * self.blocks.shape[1], -1

    def added(self, weight: Tensor) -> Tensor:
        parts = weight.unflatten(0, self.blocks.shape[:2])
        turn = rotation(self.blocks.float(), self.limit)
        return torch.einsum("knm,kni->kmi", turn, parts).flatten(0, 1)


def rotation(blocks: Tensor, limit: float = 0.0) -> Tensor:
    """R - I [k, n, n] of the Cayley transform R = (I + Q)(I - Q)^-1 with Q = blocks - blocks^T.

    Args:
        limit: of the norm of Q, over all blocks; 0 for none.
    """
    skew = blocks - blocks.mT
    if limit > 0 and (norm := float(skew.norm())) > limit:
        skew = skew * (limit / norm)
    one = torch.eye(skew.shape[-1], device=skew.device, dtype=skew.dtype)
    found: Tensor = torch.linalg.solve(one - skew, 2 * skew)
    return found


LoRA: TypeAlias = Mapping[str, LoRALayer]
"""The layers of a LoRA, by diffusers' names."""
Adapter: TypeAlias = Mapping[str, AdapterLayer]
"""The layers of a LoRA or another adapter."""


def largest_rank(lora: LoRA) -> int:
    """The largest rank of its layers. A LoRA has at least one."""
    return max(layer.rank for layer in lora.values())
