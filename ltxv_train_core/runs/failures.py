"""Why a run failed, and what a user can do about it."""

import errno
import json
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict

from pydantic import TypeAdapter

from ..errors import ConfigurationError, DataError, LTXVTrainError, ModelError, NotFiniteError
from ..memory_errors import lacks_device_memory, lacks_host_memory
from ..storage.faults import DiskError, Fault, fault_of, is_of_writing
from .folder import LARGEST_STATE_BYTES, RunFolder
from .own_files import read_own
from .state import Failure

_DISK_FULL = re.compile(
    r"no space left|os error (27|28|112|122)\b|disk quota|file too large"
    r"|PytorchStreamWriter failed|not enough space on the disk",
    re.IGNORECASE,
)
_SPARE_DEVICE_MEMORY = (
    "Use a smaller batch_size (and more gradient_accumulation_steps), "
    "enable_gradient_checkpointing, smaller clips, or for a LoRA acceleration.quantization or "
    "blocks_to_offload; or close what else uses the memory and queue the run again"
)
_SPARE_HOST_MEMORY = (
    "Close other programs, use fewer num_dataloader_workers or a smaller batch_size, and "
    "queue the run again"
)
_SPARE_TEXT_ENCODER = (
    "take a text encoder in fp8 for model.text_encoder_source, or turn the samples off "
    "(validation.interval null, or no validation.prompts); then queue the run again"
)
_SPARE_MODEL = "take a model file in bf16 or fp8, or a smaller model, and queue the run again"


_FAILURE = TypeAdapter(Failure)
_LONGEST_MESSAGE = 8000
"""A state stays small: a list reads one for each run."""


class PromptMemoryError(RuntimeError):
    """The memory was not enough to encode the prompts of samples."""


class ModelMemoryError(RuntimeError):
    """The memory was not enough to load the model that is trained."""


_ADVICE: dict[type[BaseException], tuple[str, str]] = {
    PromptMemoryError: (
        f"Set acceleration.load_text_encoder_in_8bit or load_text_encoder_in_4bit, {_SPARE_TEXT_ENCODER}",
        f"Close other programs, {_SPARE_TEXT_ENCODER}",
    ),
    ModelMemoryError: (
        "For a LoRA set acceleration.quantization or blocks_to_offload; or close what else uses the "
        f"memory, {_SPARE_MODEL}",
        f"Close other programs, {_SPARE_MODEL}",
    ),
}
"""Of the device's memory and of the computer's, by what was being done; elsewhere it is a step."""


class RunFailedError(LTXVTrainError):
    """A run failed. It resumes from its checkpoint once the cause is removed."""

    def __init__(self, cause: Failure):
        self.cause = cause
        super().__init__(str(cause))


def failure_of(error: BaseException) -> Failure:
    """Names what happened, from an error and the errors that caused it."""
    chain = list(_chain(error))
    text = _first_line(error)
    of_device, of_host = _ADVICE.get(type(error), (_SPARE_DEVICE_MEMORY, _SPARE_HOST_MEMORY))
    if fault := next(filter(None, map(_fault, chain)), None):
        return Failure(
            fault.kind,
            error.reason if isinstance(error, DiskError) else f"{fault.message} ({text})",
            f"{fault.advice}, then queue the run again; earlier checkpoints are whole",
        )
    if any(lacks_device_memory(each) for each in chain):
        return Failure(
            "out_of_memory",
            f"the accelerator's memory is not enough ({text})",
            of_device,
        )
    if any(lacks_host_memory(each) for each in chain):
        return Failure(
            "out_of_host_memory",
            f"the computer's memory is not enough ({text})",
            of_host,
        )
    if isinstance(error, NotFiniteError):
        return Failure("not_finite", text, "Changed options make a new run")
    if isinstance(error, DataError):
        return Failure(
            "data", _cut(error), "Put the data set back or preprocess it again, then queue the run"
        )
    for kind, name in ((ModelError, "model"), (ConfigurationError, "configuration")):
        if isinstance(error, kind):
            return Failure(name, _cut(error), "Solve this, then queue the run again")
    return Failure(
        "error",
        f"{type(error).__name__}: {text}",
        "The log has the details. Queue the run again to resume it from where it was last saved",
    )


def leave_failure(run: RunFolder, cause: Failure) -> None:
    """Writes why a process failed that trains a run together with the first process.

    The first process sees a closed connection, or is ended by the launcher. Only the first failure is
    kept: the other processes fail because of it.
    """
    with suppress(OSError), run.failure_file.open("x", encoding="utf-8") as file:
        json.dump(asdict(cause), file)


def failure_left(run: RunFolder) -> Failure | None:
    """What `leave_failure` has written since the run began, if anything."""
    try:
        text = read_own(run.failure_file, LARGEST_STATE_BYTES)
        return _FAILURE.validate_json(text, strict=True)
    except (OSError, ValueError):
        return None


def _chain(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    each: BaseException | None = error
    while each is not None and id(each) not in seen:
        seen.add(id(each))
        yield each
        each = each.__cause__ or each.__context__


def _fault(error: BaseException) -> Fault | None:
    """The fault of the disk. Some libraries raise errors without a number: the text says "full"."""
    if is_of_writing(error) and (fault := fault_of(error)):
        return fault
    is_told = not isinstance(error, LTXVTrainError) and _DISK_FULL.search(str(error))
    return fault_of(OSError(errno.ENOSPC, "")) if is_told else None


def _cut(error: BaseException) -> str:
    return str(error)[:_LONGEST_MESSAGE]


def _first_line(error: BaseException) -> str:
    lines = _cut(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
