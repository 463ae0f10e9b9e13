"""The full state of training at a step, as a folder that appears whole or not at all."""

import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from .errors import LTXVTrainError
from .events import Notice, Reporter, ignore
from .files import put_in_place, sync_file, sync_folder
from .tensor_files import write_safetensors
from .torch_files import read_torch_file

WEIGHTS = "weights.safetensors"
STATE = "state.pt"


class CheckpointError(LTXVTrainError):
    """A checkpoint is damaged, or doesn't fit what it is loaded into."""


@dataclass(frozen=True)
class TrainingState:
    """All that a run needs to go on.

    Attributes:
        weights: trained parameters by name.
        state: state dictionaries (optimizer, schedule, data): tensors and plain values only.
    """

    step: int
    weights: dict[str, Tensor]
    state: dict[str, Any]


def save(folder: Path, state: TrainingState) -> Path:
    """Writes a checkpoint to `folder/<step>` and returns that path.

    A failure leaves the folder as it was.
    """
    target = place(folder, state.step)
    temporary = folder / f".{target.name}.{os.getpid()}.part"
    try:
        temporary.mkdir(parents=True)
        weights = {name: value.detach().cpu() for name, value in state.weights.items()}
        write_safetensors(temporary / WEIGHTS, weights, {"step": str(state.step)})
        with (temporary / STATE).open("wb") as file:  # so that errors are the system's
            torch.save(state.state, file)
        sync_file(temporary / STATE)
        sync_folder(temporary)
        shutil.rmtree(target, ignore_errors=True)
        put_in_place(temporary, target)
        sync_folder(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return target


def place(folder: Path, step: int) -> Path:
    return folder / f"{step:06d}"


def load_latest(*folders: Path, report: Reporter = ignore) -> TrainingState | None:
    """The newest checkpoint that can be read, or None when there is none.

    Args:
        folders: where they lie; of the same step, the one in the first folder is taken.

    Raises:
        CheckpointError: there are some, and none can be read.
    """
    damaged = []
    for path in _newest_first(*folders):
        name = f"{path.parent.name}/{path.name}"
        try:
            return TrainingState(
                step=int(path.name),
                weights=load_file(path / WEIGHTS),
                state=read_torch_file(path / STATE),
            )
        except Exception as error:
            damaged.append(f"{name} ({error})")
            report(Notice(f"{name} can't be read ({error}); taking the one before"))
    if damaged:
        raise CheckpointError(
            f"{folders[0].parent}: no checkpoint can be read: {'; '.join(damaged)}. Delete them to "
            "start the run anew"
        )
    return None


def exists(*folders: Path) -> bool:
    """Whether there is a checkpoint to go on from."""
    return bool(_newest_first(*folders))


def keep_newest(newest: Path, count: int, report: Reporter = ignore) -> None:
    """Removes all but so many checkpoints, the newest and those before it; a negative count keeps
    all, and the newest always stays.

    One that can't be removed now, because somebody reads it, is told and tried again next time.
    Those of later steps are damaged: the run went on from one before them.
    """
    if count < 0:
        return
    before = [p for p in _newest_first(newest.parent) if int(p.name) < int(newest.name)]
    for old in before[max(0, count - 1) :]:
        try:
            shutil.rmtree(old)
        except OSError as error:
            report(Notice(f"checkpoint {old.name} can't be removed: {error}"))


def remove_leftovers(folder: Path) -> None:
    """Removes what a killed process had half written. Only for the one who may write the run."""
    for part in folder.rglob(".*.part*"):
        if part.is_dir():
            shutil.rmtree(part, ignore_errors=True)
        else:
            part.unlink(missing_ok=True)


def _newest_first(*folders: Path) -> list[Path]:
    """The whole checkpoints; half written ones have names that are no numbers."""
    there = (folder for folder in folders if folder.is_dir())
    found = (p for folder in there for p in folder.iterdir() if p.is_dir() and p.name.isdigit())
    return sorted(found, key=lambda path: -int(path.name))
