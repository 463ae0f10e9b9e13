"""What a LoRA changes, layer by layer: how much, and in how many directions."""

import math
import re
import statistics
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..errors import ModelError
from .lora import LoRA, LoRALayer

_BLOCK = re.compile(r"transformer_blocks\.([0-9]+)\.")
_BARELY = 0.01
"""Of the median layer's change."""
_SHADES = " .:-=+*#%@"


@dataclass(frozen=True)
class LayerChange:
    """What is added to one weight.

    Attributes:
        block: its number; None outside of blocks.
        kind: the layer's name in its block, or its whole name.
        size: root mean square of what is added to the numbers of the weight.
        directions: effective rank: the exponential of the entropy of the singular values (Roy and Vetterli
            2007); 1 to `rank`.
        rank: of the LoRA here.
    """

    block: int | None
    kind: str
    size: float
    directions: float
    rank: int


@dataclass(frozen=True)
class LoRAChanges:
    """All layers of a LoRA, in the order of the blocks."""

    layers: tuple[LayerChange, ...]

    @classmethod
    def of(cls, lora: LoRA) -> "LoRAChanges":
        """Those of a LoRA. Raises `ModelError` for numbers that are too large."""
        found = [_change(name, layer) for name, layer in lora.items()]
        return cls(
            tuple(sorted(found, key=lambda each: (each.block is None, each.block, each.kind)))
        )

    @property
    def kinds(self) -> list[str]:
        """Kinds of layers that lie in blocks."""
        return sorted({each.kind for each in self.layers if each.block is not None})

    @property
    def blocks(self) -> list[int]:
        """Numbers of the blocks."""
        return sorted({each.block for each in self.layers if each.block is not None})

    @property
    def barely(self) -> list[LayerChange]:
        """Layers whose change is below a hundredth of the median one's."""
        limit = _BARELY * statistics.median(each.size for each in self.layers)
        return [each for each in self.layers if each.size <= limit]

    @property
    def notes(self) -> list[str]:
        """What follows from it, in sentences."""
        directions = statistics.mean(each.directions for each in self.layers)
        ranks = statistics.mean(each.rank for each in self.layers)
        by_kind = {
            kind: math.sqrt(sum(e.size**2 for e in self.layers if e.kind == kind))
            for kind in self.kinds
        }
        found = [f"{directions:.1f} of {ranks:.0f} directions are used, on average"]
        if directions < ranks / 4:
            found[0] += ": a smaller lora.rank would hold it, see `resize`"
        if by_kind:
            most = sorted(by_kind, key=by_kind.__getitem__, reverse=True)[:3]
            found.append(f"most changed: {', '.join(most)}")
        if self.barely:
            kinds = sorted({each.kind for each in self.barely})
            found.append(
                f"{len(self.barely)} of {len(self.layers)} layers barely changed ({', '.join(kinds[:5])}): others "
                "are chosen by lora.target_modules"
            )
        return found

    def as_json(self) -> dict[str, Any]:
        """For programs: [blocks][kinds], null where a layer has no LoRA."""
        places = {(each.block, each.kind): each for each in self.layers}
        rows = [[places.get((block, kind)) for kind in self.kinds] for block in self.blocks]
        others = [each for each in self.layers if each.block is None]
        return {
            "blocks": self.blocks,
            "kinds": self.kinds,
            "sizes": [[each and each.size for each in row] for row in rows],
            "directions": [[each and each.directions for each in row] for row in rows],
            "others": [
                {"layer": e.kind, "size": e.size, "directions": e.directions} for e in others
            ],
            "rank": max(each.rank for each in self.layers),
            "notes": self.notes,
        }

    def as_text(self) -> str:
        """A heat map in letters: a row for each block, a column for each kind, the darker the more."""
        found, most = self.as_json(), max(each.size for each in self.layers) or 1.0
        heads = [f"{chr(ord('a') + n % 26)}  {kind}" for n, kind in enumerate(self.kinds)]
        letters = " ".join(head[0] for head in heads)
        rows = [
            f"{block:5} " + " ".join(_shade(size, most) for size in row)
            for block, row in zip(self.blocks, found["sizes"], strict=True)
        ]
        others = [f"{each['layer']}: {each['size']:.2e}" for each in found["others"]]
        return "\n".join([*heads, f"block {letters}", *rows, *others, "", *self.notes])


def _shade(size: float | None, most: float) -> str:
    if size is None:
        return " "
    return _SHADES[min(len(_SHADES) - 1, int(len(_SHADES) * size / most))]


def _change(name: str, layer: LoRALayer) -> LayerChange:
    block = _BLOCK.match(name)
    squares = (layer.up.double() * layer.scale).square().sum() * layer.down.double().square().sum()
    if not torch.isfinite(squares):
        raise ModelError(f"{name}: has numbers too large to tell what they change")
    values = _singular_values(layer)
    total = float(values.sum())
    shares = values[values > 0] / total if total else values[:0]
    entropy = float(-(shares * shares.log()).sum())
    numbers = layer.up.shape[0] * layer.down.shape[1]
    return LayerChange(
        block=int(block[1]) if block else None,
        kind=name[block.end() :] if block else name,
        size=float(values.square().sum().sqrt()) / math.sqrt(numbers),
        directions=math.exp(entropy) if total else 0.0,
        rank=layer.rank,
    )


def _singular_values(layer: LoRALayer) -> Tensor:
    """Of `change()`, float64, from products of rank by rank: the change itself is large, unless the rank is."""
    up, down = layer.up.double() * layer.scale, layer.down.double()
    if layer.rank > min(up.shape[0], down.shape[1]):
        few: Tensor = torch.linalg.svdvals(up @ down)
        return few
    values, vectors = torch.linalg.eigh(up.T @ up)
    root = vectors * values.clamp(min=0).sqrt() @ vectors.T
    squares: Tensor = torch.linalg.eigvalsh(root @ (down @ down.T) @ root)
    return squares.clamp(min=0).sqrt()
