"""A LoRA with a smaller rank, by singular values, with the error that this makes.

Shapes: r rank, i inputs, o outputs of a layer, k <= r singular values.
"""

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.functional import pad

from ..errors import ModelError
from .convert import require_new
from .file import read_lora, write_lora
from .lora import LoRA, LoRALayer, largest_rank


@dataclass(frozen=True)
class Resize:
    """What became of a LoRA.

    Attributes:
        error: the norm of what is lost over the norm of the whole change, over all layers.
        worst: the layer that loses most, and its own error.
        notes: what the user should know, one line each.
    """

    output: Path
    rank: int
    error: float
    worst: tuple[str, float]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Factors:
    """The singular value decomposition of a layer's change: left [o, k], values [k], right [i, k]."""

    left: Tensor
    values: Tensor
    right: Tensor

    def layer(self, rank: int) -> LoRALayer:
        """The best approximation of this rank, each side with half of the size.

        Zeros make up the rank where the change has fewer singular values.
        """
        root = self.values[:rank].sqrt()
        count = len(root)
        down, up = (self.right[:, :count] * root).T, self.left[:, :count] * root
        missing = rank - count
        return LoRALayer(
            pad(down.float(), (0, 0, 0, missing)), pad(up.float(), (0, missing)), float(rank)
        )


def resize_lora(
    source: Path, output: Path, rank: int | None = None, energy: float | None = None
) -> Resize:
    """Writes a LoRA of a smaller rank for ComfyUI, the same for all layers. Where they have several
    ranks, the largest may be given too: nothing is lost then.

    Args:
        rank: the new rank; or
        energy: the share of the squared singular values that must be kept, over all layers; the
            smallest rank that keeps it is taken.

    Raises:
        ModelError: the source is no LoRA that is known, the rank is not smaller, or `output` is
            there already.
    """
    assert (rank is None) != (energy is None)
    found = read_lora(source)
    require_new(output)
    factors = {name: decompose(layer) for name, layer in found.lora.items()}
    old = largest_rank(found.lora)
    if rank is None:
        assert energy is not None
        rank = _rank_for(energy, list(factors.values()))
    elif not 1 <= rank <= old - (not _is_mixed(found.lora)):
        raise ModelError(f"{source}: has rank {old}; give a smaller rank than that, from 1 on")
    squares = {name: f.values.square() for name, f in factors.items()}
    lost = {name: s[rank:].sum() / s.sum() for name, s in squares.items() if s.sum() > 0}
    whole = sum(float(s.sum()) for s in squares.values())
    error = sum(float(s[rank:].sum()) for s in squares.values()) / whole if whole else 0.0
    worst = max(lost, key=lambda name: float(lost[name]), default="")
    resized: LoRA = {name: f.layer(rank) for name, f in factors.items()}
    facts = {"rank": str(rank), "alpha": str(rank), "resized_from_rank": str(old)}
    write_lora(output, resized, found.metadata | facts | {"resize_error": f"{error**0.5:.6g}"})
    notes = found.notes("left out")
    worst_error = float(lost[worst]) ** 0.5 if worst else 0.0
    return Resize(output, rank, error**0.5, (worst, worst_error), notes)


def _is_mixed(lora: LoRA) -> bool:
    return len({layer.rank for layer in lora.values()}) > 1


def decompose(layer: LoRALayer) -> Factors:
    """The singular values of a layer's change, from its two thin matrices alone."""
    left, upper = torch.linalg.qr(layer.up.double() * layer.scale)
    right, lower = torch.linalg.qr(layer.down.double().T)
    u, values, v = torch.linalg.svd(upper @ lower.T)
    return Factors(left @ u, values, right @ v.T)


def _rank_for(energy: float, factors: list[Factors]) -> int:
    if not 0 < energy <= 1:
        raise ModelError(f"energy {energy}: give a share above 0 and up to 1, for example 0.99")
    longest = max(len(f.values) for f in factors)
    kept = torch.zeros(longest, dtype=torch.float64)
    for one in factors:
        kept[: len(one.values)] += one.values.square()
    shares = kept.cumsum(0) / kept.sum()
    return min(int((shares < energy - 1e-12).sum()) + 1, longest)
