"""What long work tells the outside, and how the outside stops it.

The core knows no user interface: a function that takes long accepts a `Reporter` (called with
each event, from the thread that does the work) and a `StopSignal` (asked between two steps).
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, TypeAlias

from .errors import Cancelled


@dataclass(frozen=True)
class Progress:
    """`done` of `total` units of a named phase ("encode videos", "train", "sample", ...).

    `item` names what is worked on now; `eta_seconds` counts to the end of the phase.
    """

    phase: str
    done: int
    total: int
    unit: str = "item"
    item: str = field(default="", compare=False)
    eta_seconds: float | None = field(default=None, compare=False)


@dataclass(frozen=True)
class Notice:
    """Something the user should know that stops nothing."""

    message: str


@dataclass(frozen=True)
class ClipSkipped:
    """A clip that could not be used, with all that belongs to it."""

    name: str
    reason: str


@dataclass(frozen=True)
class StepCompleted:
    """One optimizer step. `eta_seconds` counts to the last step."""

    step: int
    steps: int
    loss: float
    learning_rate: float
    grad_norm: float
    step_seconds: float
    eta_seconds: float


@dataclass(frozen=True)
class SamplesWritten:
    """Validation videos of a step: one mp4 per prompt and a contact sheet (png)."""

    step: int
    videos: tuple[Path, ...]
    sheet: Path


@dataclass(frozen=True)
class CheckpointWritten:
    """`folder` holds the full state to resume from, `lora_file` the weights to sample with."""

    step: int
    folder: Path
    lora_file: Path


Event: TypeAlias = (
    Progress | Notice | ClipSkipped | StepCompleted | SamplesWritten | CheckpointWritten
)
Reporter: TypeAlias = Callable[[Event], None]


class StopSignal(Protocol):
    """Asked between two steps of work; a `threading.Event` is one."""

    def is_set(self) -> bool: ...


class NeverStop:
    """The stop signal of work that nobody stops."""

    def is_set(self) -> bool:
        return False


def ignore(event: Event) -> None:
    """The reporter of work that nobody watches."""


def raise_if_stopped(stop: StopSignal) -> None:
    """Raises `Cancelled` when a stop was asked for."""
    if stop.is_set():
        raise Cancelled("stopped on request")
