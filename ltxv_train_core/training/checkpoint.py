"""The full state of training at a step, as a folder that appears whole or not at all."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors.torch import load_file
from torch import Tensor

from ..errors import LTXVTrainError, cut, shown
from ..events import Notice, Reporter, ignore
from ..memory_errors import is_out_of_memory
from ..storage.atomic import atomic_folder, is_unfinished
from ..storage.reading import whole_number
from ..storage.safetensors_header import read_header
from ..storage.tensors import write_safetensors
from ..storage.torch_files import read_torch_file, write_torch_file

WEIGHTS = "weights.safetensors"
STATE = "state.pt"


class CheckpointError(LTXVTrainError):
    """A checkpoint is damaged, or doesn't fit what it is loaded into."""


@dataclass(frozen=True)
class TrainingState:
    """All that a run needs to resume.

    Attributes:
        weights: trained parameters by name.
        state: state dictionaries (optimizer, schedule, data): tensors and plain values only.
    """

    step: int
    weights: dict[str, Tensor]
    state: dict[str, Any]


def save_checkpoint(folder: Path, state: TrainingState) -> Path:
    """Writes a checkpoint to `folder/<step>` and returns that path.

    A failure leaves the folder as it was.

    Raises:
        DiskError: it can't be written.
        NotFiniteError: a weight is NaN or infinite.
    """
    target = place(folder, state.step)
    with atomic_folder(target) as temporary:
        write_safetensors(temporary / WEIGHTS, state.weights, {"step": str(state.step)})
        write_torch_file(temporary / STATE, state.state)
    return target


def place(folder: Path, step: int) -> Path:
    return folder / f"{step:06d}"


def load_latest(
    *folders: Path,
    report: Reporter = ignore,
    use: Callable[[TrainingState], None] = lambda state: None,
) -> TrainingState | None:
    """The newest checkpoint that can be read and used, or None when there is none.

    Args:
        folders: where they lie; of the same step, the one in the first folder is taken.
        use: takes a state; what it raises means that the checkpoint is damaged, unless it is a
            `CheckpointError`.

    Raises:
        CheckpointError: there are some, and none can be read.
    """
    damaged = []
    for path in _newest_first(*folders):
        name = f"{path.parent.name}/{path.name}"
        try:
            state = _read(path)
            use(state)
            return state
        except Exception as error:
            if isinstance(error, CheckpointError) or is_out_of_memory(error):
                raise
            reason = cut(f"{type(error).__name__}: {error}".partition("\n")[0], 200)
            damaged.append(f"{name} ({reason})")
            report(
                Notice(f"{name} can't be read ({reason}); taking the one before", is_problem=True)
            )
    if damaged:
        more = f" and {len(damaged) - 3} more" if damaged[3:] else ""
        raise CheckpointError(
            f"{folders[0].parent}: no checkpoint can be read: {'; '.join(damaged[:3])}{more}. Delete "
            "them to start the run again"
        )
    return None


def _read(path: Path) -> TrainingState:
    step = int(path.name)
    written = read_header(path / WEIGHTS).metadata.get("step", str(step))
    if written != str(step):
        raise ValueError(f"its weights are of step {shown(written)}")
    state = read_torch_file(path / STATE)
    if not isinstance(state, dict):
        raise ValueError(f"{STATE} is no dictionary")
    return TrainingState(step, load_file(path / WEIGHTS), state)


def exists(*folders: Path) -> bool:
    """Whether there is a checkpoint to resume from."""
    return bool(_newest_first(*folders))


def keep_newest(newest: Path, count: int, report: Reporter = ignore) -> None:
    """Removes all but so many checkpoints, the newest and those before it; a negative count keeps
    all, and the newest always stays.

    One that can't be removed now, because somebody reads it, is reported and tried again next time.
    Those of later steps are damaged: the run went on from one before them.
    """
    if count < 0:
        return
    before = [p for p in _newest_first(newest.parent) if int(p.name) < int(newest.name)]
    for old in before[max(0, count - 1) :]:
        try:
            shutil.rmtree(old)
        except OSError as error:
            report(Notice(f"checkpoint {old.name} can't be removed: {error}", is_problem=True))


def remove_leftovers(folder: Path) -> None:
    """Removes what a killed process had half written. Only for the one who may write the run."""
    for part in filter(is_unfinished, list(folder.rglob(".*"))):
        if part.is_dir():
            shutil.rmtree(part, ignore_errors=True)
        else:
            part.unlink(missing_ok=True)


def _newest_first(*folders: Path) -> list[Path]:
    """The whole checkpoints; half written ones have other names than `place` gives."""
    there = [path for folder in folders if folder.is_dir() for path in folder.iterdir()]
    steps = [whole_number(path.name) for path in there]
    found = [
        (step, path)
        for step, path in zip(steps, there, strict=True)
        if step is not None and path == place(path.parent, step) and path.is_dir()
    ]
    return [path for _, path in sorted(found, key=lambda each: -each[0])]
