"""Why a run failed, in words that a user can act on."""

import errno
import json
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, replace

from pydantic import TypeAdapter

from ..errors import ConfigurationError, DataError, LTXVTrainError, ModelError, NotFiniteError
from ..storage.faults import DiskError, Fault, fault_of, is_of_writing
from .folder import LARGEST_STATE_BYTES, RunFolder
from .own_files import read_own
from .state import Cause

_DISK_FULL = re.compile(
    r"no space left|os error (27|28|112|122)\b|disk quota|file too large"
    r"|PytorchStreamWriter failed|not enough space on the disk",
    re.IGNORECASE,
)
_DEVICE_MEMORY = re.compile(
    r"(CUDA|HIP|MPS|XPU)\b.*out of memory|CU(BLAS|DNN)_STATUS_ALLOC_FAILED", re.IGNORECASE
)
_HOST_MEMORY = re.compile(r"can't allocate memory|not enough memory|Cannot allocate", re.IGNORECASE)

_SPARE_DEVICE_MEMORY = (
    "Use a smaller batch_size (and more gradient_accumulation_steps), "
    "enable_gradient_checkpointing, quantization, or smaller clips; or close what else "
    "uses the memory and queue the run again"
)
_SPARE_HOST_MEMORY = (
    "Close other programs, use fewer num_dataloader_workers or a smaller batch_size, and "
    "queue the run again"
)
_SPARE_TEXT_ENCODER = (
    "take a T5 file in fp8 for model.text_encoder_source, or leave the samples out "
    "(validation.interval null, or no validation.prompts); then queue the run again"
)
_SPARE_DEVICE_MEMORY_OF_PROMPTS = (
    f"Set acceleration.load_text_encoder_in_8bit, {_SPARE_TEXT_ENCODER}"
)
_SPARE_HOST_MEMORY_OF_PROMPTS = f"Close other programs, {_SPARE_TEXT_ENCODER}"

_CAUSE = TypeAdapter(Cause)
_LONGEST_MESSAGE = 8000
"""A state has to stay small: one is read for each run of a list."""


class PromptMemoryError(RuntimeError):
    """The memory was not enough to encode the prompts of samples."""


class RunFailedError(LTXVTrainError):
    """A run failed and is parked: it goes on from its checkpoint when its cause is gone."""

    def __init__(self, cause: Cause):
        self.cause = cause
        super().__init__(str(cause))


def cause_of(error: BaseException) -> Cause:
    """Names what happened, from an error and those behind it."""
    chain = list(_chain(error))
    text = _first_line(error)
    is_of_prompts = isinstance(error, PromptMemoryError)
    if fault := next(filter(None, map(_fault, chain)), None):
        return Cause(
            fault.kind,
            error.reason if isinstance(error, DiskError) else f"{fault.message} ({text})",
            f"{fault.advice}, then queue the run again; earlier checkpoints are whole",
        )
    if any(_is_device_memory(each) for each in chain):
        return Cause(
            "out_of_memory",
            f"the accelerator's memory is not enough ({text})",
            _SPARE_DEVICE_MEMORY_OF_PROMPTS if is_of_prompts else _SPARE_DEVICE_MEMORY,
        )
    if any(_is_host_memory(each) for each in chain):
        return Cause(
            "out_of_host_memory",
            f"the computer's memory is not enough ({text})",
            _SPARE_HOST_MEMORY_OF_PROMPTS if is_of_prompts else _SPARE_HOST_MEMORY,
        )
    if isinstance(error, NotFiniteError):
        return Cause("not_finite", text, "Changed options make a new run")
    if isinstance(error, DataError):
        return Cause(
            "data", _cut(error), "Put the data set back or preprocess it again, then queue the run"
        )
    for kind, name in ((ModelError, "model"), (ConfigurationError, "configuration")):
        if isinstance(error, kind):
            return Cause(name, _cut(error), "Solve this, then queue the run again")
    return Cause(
        "error",
        f"{type(error).__name__}: {text}",
        "The log has the details. Queue the run again to go on from where it was last saved",
    )


def leave_cause(run: RunFolder, error: BaseException, process: str) -> None:
    """Writes down why a process failed that trains a run together with the first one.

    The first one sees its connection closed, or is ended by the launcher. What is written first
    stays: the others fail because of it.
    """
    cause = cause_of(error)
    cause = replace(cause, message=f"{process}: {cause.message}")
    with suppress(OSError), run.failure_file.open("x", encoding="utf-8") as file:
        json.dump(asdict(cause), file)


def left_cause(run: RunFolder) -> Cause | None:
    """What `leave_cause` has written since the run began, if anything."""
    try:
        text = read_own(run.failure_file, LARGEST_STATE_BYTES)
        return _CAUSE.validate_json(text, strict=True)
    except (OSError, ValueError):
        return None


def is_out_of_memory(error: BaseException) -> bool:
    return _is_device_memory(error) or _is_host_memory(error)


def _chain(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    each: BaseException | None = error
    while each is not None and id(each) not in seen:
        seen.add(id(each))
        yield each
        each = each.__cause__ or each.__context__


def _fault(error: BaseException) -> Fault | None:
    """Of libraries that name the system's errors in words alone, a full disk is told by these."""
    if is_of_writing(error) and (fault := fault_of(error)):
        return fault
    is_told = not isinstance(error, LTXVTrainError) and _DISK_FULL.search(str(error))
    return fault_of(OSError(errno.ENOSPC, "")) if is_told else None


def _is_device_memory(error: BaseException) -> bool:
    name = type(error).__name__
    return name == "OutOfMemoryError" or bool(_DEVICE_MEMORY.search(str(error)))


def _is_host_memory(error: BaseException) -> bool:
    if isinstance(error, MemoryError):
        return True
    return isinstance(error, RuntimeError | OSError) and bool(_HOST_MEMORY.search(str(error)))


def _cut(error: BaseException) -> str:
    return str(error)[:_LONGEST_MESSAGE]


def _first_line(error: BaseException) -> str:
    lines = _cut(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
