"""A checkpoint that is written by a thread while the next steps run, from a copy in host memory."""

from collections.abc import Callable
from typing import Any

import psutil
from torch import Tensor

from ..background import Job
from .checkpoint import TrainingState

LEAST_BYTES = 2**26
"""Of a state, from which on a copy and a thread save time: less is on the disk in a tenth of a second."""
_SHARE_LEFT = 4
"""One part in so many of the host's memory is not taken by a copy."""


class BackgroundWrite:
    """One write at a time. What follows it is done by the caller's thread, between two of its steps."""

    def __init__(self) -> None:
        self._job: Job[Any] | None = None
        self._then: Callable[[], None] = lambda: None

    def begin(self, write: Callable[[], Any], then: Callable[[], None]) -> None:
        """Starts to write.

        Args:
            then: called by `finish` or `finish_if_done`, when all is written.
        """
        self.finish()
        self._then = then
        self._job = Job(lambda report, stop: write(), "ltxv-train-checkpoint").start()

    @property
    def is_writing(self) -> bool:
        """Whether `finish` has not been called since `begin`."""
        return self._job is not None

    def finish_if_done(self) -> None:
        """As `finish`, where there is nothing to wait for."""
        if self._job is not None and self._job.wait(0):
            self.finish()

    def finish(self) -> None:
        """Waits for the write, raises what it has raised, and does what follows it."""
        job, self._job = self._job, None
        if job is not None:
            job.result()
            self._then()


def copied(state: TrainingState) -> TrainingState | None:
    """A copy of a state in host memory; None where it isn't worth one, or where the host has no room for it."""
    size = _nbytes(state.weights) + _nbytes(state.state)
    memory = psutil.virtual_memory()
    if size < LEAST_BYTES or memory.available - size < memory.total // _SHARE_LEFT:
        return None
    return TrainingState(state.step, _copy(state.weights), _copy(state.state))


def _copy(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.detach().to("cpu", copy=True)
    if isinstance(value, dict):
        return {key: _copy(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_copy(each) for each in value)
    return value


def _nbytes(value: Any) -> int:
    if isinstance(value, Tensor):
        return value.nbytes
    if isinstance(value, dict):
        return sum(map(_nbytes, value.values()))
    return sum(map(_nbytes, value)) if isinstance(value, list | tuple) else 0
