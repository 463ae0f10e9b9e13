"""The full state of training at a step, as a folder that appears whole or not at all."""

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from .files import write_safetensors

WEIGHTS = "weights.safetensors"
STATE = "state.pt"


@dataclass(frozen=True)
class TrainingState:
    """All that a run needs to go on.

    Attributes:
        weights: trained parameters by name.
        state: state dictionaries (optimizer, schedule, data, random generators): tensors and
            plain values only.
    """

    step: int
    weights: dict[str, Tensor]
    state: dict[str, Any]


def save(folder: Path, state: TrainingState) -> Path:
    """Writes a checkpoint to `folder/<step>` and returns that path."""
    target = folder / f"{state.step:06d}"
    temporary = folder / f".{target.name}.{os.getpid()}.part"
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    weights = {name: value.detach().cpu() for name, value in state.weights.items()}
    write_safetensors(temporary / WEIGHTS, weights, {"step": str(state.step)})
    torch.save(state.state, temporary / STATE)
    shutil.rmtree(target, ignore_errors=True)
    temporary.rename(target)
    return target


def load_latest(folder: Path) -> TrainingState | None:
    """The newest checkpoint, or None when there is none."""
    newest = max(_complete(folder), default=None)
    if newest is None:
        return None
    return TrainingState(
        step=int(newest.name),
        weights=load_file(newest / WEIGHTS),
        state=torch.load(newest / STATE, map_location="cpu", weights_only=True),
    )


def keep_newest(folder: Path, count: int) -> None:
    """Removes all but the newest checkpoints; a negative count keeps all, and one always stays."""
    if count < 0:
        return
    for old in sorted(_complete(folder), reverse=True)[max(1, count) :]:
        shutil.rmtree(old)


def _complete(folder: Path) -> Iterator[Path]:
    if folder.is_dir():
        yield from (p for p in folder.iterdir() if p.is_dir() and p.name.isdigit())
