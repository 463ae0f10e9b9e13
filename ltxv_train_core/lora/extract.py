"""A LoRA from the difference of two checkpoints."""

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from ..errors import ModelError
from ..events import NeverStop, Progress, Reporter, StopSignal, ignore, raise_if_stopped
from ..models.device import default_device
from .checkpoint_weights import CheckpointFile, open_checkpoint
from .convert import require_new
from .file import name_some, write_lora
from .lora import LoRALayer
from .resize import Factors

# Halko, Martinsson and Tropp (2011): 5 to 10 suffice with two iterations; twice that costs little here.
OVERSAMPLING, ITERATIONS = 16, 4


@dataclass(frozen=True)
class Extraction:
    """What was found.

    Attributes:
        layers: how many differ.
        error: the norm of what the LoRA lacks over the norm of the difference, over all layers.
        notes: what the user should know, one line each: what differs and can't be in a LoRA.
    """

    output: Path
    layers: int
    error: float
    notes: tuple[str, ...]


def extract_lora(
    base: Path,
    tuned: Path,
    output: Path,
    rank: int,
    report: Reporter = ignore,
    stop: StopSignal | None = None,
) -> Extraction:
    """Writes the LoRA for ComfyUI that, put into `base`, comes closest to `tuned`.

    Both files are read layer by layer.

    Raises:
        ModelError: a file holds no transformer of a known family, they are of different sizes or don't
            differ, the rank is larger than the layers', or `output` is there already.
    """
    stop = stop or NeverStop()
    require_new(output)
    if rank < 1:
        raise ModelError(f"rank {rank}: give a rank from 1 on")
    with open_checkpoint(base) as before, open_checkpoint(tuned) as after:
        _require_alike(before, after)
        largest = max(min(before.info(name).shape) for name in before.layers)
        if rank > largest:
            raise ModelError(
                f"rank {rank}: the layers have at most {largest} of them; give one up to that"
            )
        lora: dict[str, LoRALayer] = {}
        lost = whole = 0.0
        for number, name in enumerate(before.layers, start=1):
            raise_if_stopped(stop)
            difference = after.weight(name) - before.weight(name)
            report(Progress("extract", number, len(before.layers), "layer"))
            if not difference.any():
                continue
            if not difference.isfinite().all():
                raise ModelError(f"{tuned}: {name} differs by numbers that are not finite")
            lora[name] = _closest(difference, rank, f"{tuned}: {name}")
            whole += float(difference.square().sum())
            lost += float((difference - lora[name].change()).square().sum())
        if not lora:
            raise ModelError(f"{tuned}: its layers don't differ from those of {base.name}")
        notes, architecture = _other_differences(before, after), before.family.architecture
    facts = {
        "rank": str(rank),
        "alpha": str(rank),
        "extracted_from": tuned.name,
        "base_model": base.name,
        "modelspec.sai_model_spec": "1.0.0",
        "modelspec.title": tuned.stem,
        "modelspec.architecture": f"{architecture}/lora",
    }
    error = (lost / whole) ** 0.5
    write_lora(output, lora, facts | {"extract_error": f"{error:.6g}"})
    return Extraction(output, len(lora), error, notes)


def _closest(difference: Tensor, rank: int, where: str) -> LoRALayer:
    """The LoRA of a rank that comes closest to a difference [o, i].

    Raises:
        ModelError: its numbers are too large; `where` names the layer.
    """
    size = min(*difference.shape, rank + OVERSAMPLING)
    device = default_device()
    if device.type == "cuda":  # Apple's lacks the QR decomposition (pytorch/pytorch#177370)
        difference = difference.to(device)
    try:
        found = _largest(difference, size)
    except torch.linalg.LinAlgError as error:
        raise ModelError(f"{where} differs by numbers that are too large to be factored") from error
    return Factors(*(part.cpu() for part in found)).layer(rank)


def _largest(matrix: Tensor, count: int) -> tuple[Tensor, Tensor, Tensor]:
    """The largest singular values of a matrix, as `torch.svd_lowrank` finds them (Halko, Martinsson
    and Tropp 2009, algorithm 5.1), which would draw from the global random state."""
    is_wide = matrix.shape[0] < matrix.shape[1]
    matrix = matrix.T if is_wide else matrix
    drawn = torch.randn(matrix.shape[1], count, generator=torch.Generator().manual_seed(0))
    basis = torch.linalg.qr(matrix @ drawn.to(matrix)).Q
    for _ in range(ITERATIONS):
        basis = torch.linalg.qr(matrix.T @ basis).Q
        basis = torch.linalg.qr(matrix @ basis).Q
    left, values, right = torch.linalg.svd(basis.T @ matrix, full_matrices=False)
    left, right = basis @ left, right.T
    return (right, values, left) if is_wide else (left, values, right)


def _require_alike(before: CheckpointFile, after: CheckpointFile) -> None:
    other = sorted(before.layers.keys() ^ after.layers.keys())
    if not other:
        other = [n for n in before.layers if before.info(n).shape != after.info(n).shape]
    if other:
        raise ModelError(
            f"{after.path}: is no model of the size of {before.path.name}; they differ in "
            f"{name_some(other)}"
        )
    for file in (before, after):
        file.require_floats(file.layers)


def _other_differences(before: CheckpointFile, after: CheckpointFile) -> tuple[str, ...]:
    """A line for tensors besides the layers' weights that differ: biases, norms, tables."""
    differing = [
        name
        for name, key in before.others.items()
        if name in after.others
        and not torch.equal(before.tensor(key).float(), after.tensor(after.others[name]).float())
    ]
    if not differing:
        return ()
    return (f"differ too, and no LoRA can hold them: {name_some(differing)}",)
