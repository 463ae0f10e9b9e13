"""`metrics.jsonl`: a line of JSON for each step, in order.

It is read from its end, because who asks again and again wants the newest steps. A line that is no
step, or comes after a later one, costs itself.
"""

import json
import math
import os
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import BinaryIO

from pydantic import TypeAdapter

from ..events import NOISE_BANDS, StepCompleted
from ..storage.atomic import append_text, write_text
from ..storage.reading import NotRegularError
from .own_files import open_own
from .state import MOST_STEPS

MOST_LINES = 200_000
MOST_BYTES = 64 * 2**20
"""As much is read, from the end."""

_LONGEST_LINE_BYTES = 4096
# The last line is read from the end: one block suffices, a damaged end takes more.
_FIRST_BLOCK_BYTES, _LARGEST_BLOCK_BYTES = 4096, 2**20
_LARGEST_VALUE = 1e100
"""Sums and differences of such values are numbers."""

_STEP = TypeAdapter(StepCompleted)


def steps_after(path: Path, since: int = 0) -> list[StepCompleted]:
    """What was recorded of each step after `since`, in order; nothing where there is no such file.

    Raises:
        OSError: it can't be read.
    """
    found: list[StepCompleted] = []
    try:
        with open_own(path) as file:
            for each in _steps_from_end(file):
                if each.step <= since:
                    break
                if not found or each.step < found[-1].step:
                    found.append(each)
    except (FileNotFoundError, NotRegularError):
        return []
    return found[::-1]


def newest(path: Path) -> StepCompleted | None:
    """What was recorded of the newest step; None where there is none that can be read."""
    try:
        with open_own(path) as file:
            return next(_steps_from_end(file), None)
    except OSError:
        return None


def append_step(path: Path, step: StepCompleted) -> None:
    """Appends a step as one line of JSON."""
    append_text(path, _line(step))


def write_steps(path: Path, steps: list[StepCompleted]) -> None:
    """Puts a file with these steps in the place of the one there is."""
    write_text(path, "".join(map(_line, steps)))


def _line(step: StepCompleted) -> str:
    """JSON has no NaN: a number that isn't finite is null."""
    values = {name: _json_value(value) for name, value in asdict(step).items()}
    return json.dumps(values, allow_nan=False) + "\n"


def _json_value(value: float | tuple[float, ...]) -> object:
    if isinstance(value, tuple):
        return [_json_value(each) for each in value]
    return value if math.isfinite(value) else None


def _steps_from_end(file: BinaryIO) -> Iterator[StepCompleted]:
    for number, line in enumerate(_lines_from_end(file)):
        if number == MOST_LINES:
            return
        if (step := _parsed(line)) is not None:
            yield step


def _parsed(line: bytes) -> StepCompleted | None:
    if b'"step"' not in line:
        return None  # A file of other lines would cost seconds of pydantic's errors.
    try:
        # pydantic's reader knows NaN, as earlier versions wrote it.
        step = _STEP.validate_json(line.replace(b"null", b"NaN"), strict=True)
    except ValueError:
        return None
    values = (
        *(step.loss, step.learning_rate, step.grad_norm, step.step_seconds, step.eta_seconds),
        *(step.memory_bytes, step.video_loss, step.audio_loss),
        *(*step.loss_by_noise, *step.audio_loss_by_noise, *step.loss_by_data_set),
    )
    if not {len(step.loss_by_noise), len(step.audio_loss_by_noise)} <= {0, NOISE_BANDS}:
        return None
    if any(_LARGEST_VALUE < abs(value) < math.inf for value in values):
        return None
    if not 1 <= step.stage <= step.stages <= MOST_STEPS:
        return None
    return step if 0 < step.step <= MOST_STEPS and 0 < step.steps <= MOST_STEPS else None


def _lines_from_end(file: BinaryIO) -> Iterator[bytes]:
    """The whole lines, the last first. What is behind the last line end is still being written.

    Of a line that is too long to be a step, only some is held.
    """
    end = file.seek(0, os.SEEK_END)
    first = max(0, end - MOST_BYTES)
    block_bytes, later, is_whole = _FIRST_BLOCK_BYTES, b"", False
    while end > first:
        start = max(first, end - block_bytes)
        file.seek(start)
        head, *lines = (file.read(end - start) + later).split(b"\n")
        for line in reversed(lines):
            if is_whole:
                yield line
            is_whole = True
        later = head[: _LONGEST_LINE_BYTES + 1]
        end, block_bytes = start, min(4 * block_bytes, _LARGEST_BLOCK_BYTES)
    if is_whole and first == 0:
        yield later
