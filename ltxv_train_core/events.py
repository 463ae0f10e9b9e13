"""Events of long work, and how it is stopped.

The core knows no user interface. A function that takes long accepts a `Reporter`, which is called with
each event from the thread that works, and a `StopSignal`, which is asked between two steps.
"""

import math
import queue
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol, TypeAlias, TypeVar

from .errors import Cancelled
from .units import byte_size

Item = TypeVar("Item")


@dataclass(frozen=True)
class Progress:
    """`done` of `total` units of a named phase ("encode videos", "train", "sample", ...).

    `unit` is one of them in words, or "byte"; `item` names what is worked on now; `eta_seconds`
    counts to the end of the phase.
    """

    phase: str
    done: int
    total: int
    unit: str = "item"
    item: str = field(default="", compare=False)
    eta_seconds: float | None = field(default=None, compare=False)

    @property
    def amount(self) -> str:
        """How much is done, in words: "3 of 12 clips", "1.2 GiB of 4 GiB"."""
        if self.unit == "byte":
            return f"{byte_size(self.done)} of {byte_size(self.total)}"
        return f"{self.done} of {self.total} {self.unit}{'' if self.total == 1 else 's'}"


@dataclass(frozen=True)
class Notice:
    """Something the user should know that stops nothing.

    Attributes:
        lasting: it stays true until the work ends.
        is_problem: something went wrong, and the work continues without it.
    """

    message: str
    lasting: bool = False
    is_problem: bool = False


@dataclass(frozen=True)
class ClipSkipped:
    """A clip that could not be used, with all that belongs to it."""

    name: str
    reason: str


@dataclass(frozen=True)
class PermissionAsked:
    """Something was skipped, or failed, because this machine's user has not allowed it.

    `what` is a field of `permissions.Grants`, `value` would have to be in it.
    """

    what: str
    value: str


NOISE_BANDS = 4
"""Noise levels 0..1 are told apart in so many bands of equal width."""


@dataclass(frozen=True)
class StepCompleted:
    """One optimizer step.

    Attributes:
        eta_seconds: to the last step; NaN where nothing is known of the next ones yet.
        smooth_loss: moving average of the loss, see `runs.smoothing`; NaN in runs of earlier versions.
        memory_bytes: the most memory that tensors had on the device during the step; of a CPU, that of the
            process. NaN where it isn't known.
        loss_by_noise: mean loss of the samples of each noise band, NaN for a band without samples; empty in
            runs of earlier versions. Of a run with sound, the video's.
        video_loss, audio_loss: of a run with sound, before their weights; NaN in other runs, and where no clip of the
            step has it.
        audio_loss_by_noise: as `loss_by_noise`; empty in runs without sound.
        loss_by_data_set: of a run with several, the mean loss of each one's samples before its weight, NaN where it had
            none; empty in other runs.
        stage, stages: of a run with several, the one that the step belongs to, from 1; otherwise 1.
    """

    step: int
    steps: int
    loss: float
    learning_rate: float
    grad_norm: float
    step_seconds: float
    eta_seconds: float
    smooth_loss: float = field(default=math.nan, compare=False)
    memory_bytes: float = field(default=math.nan, compare=False)
    loss_by_noise: tuple[float, ...] = field(default=(), compare=False)
    video_loss: float = field(default=math.nan, compare=False)
    audio_loss: float = field(default=math.nan, compare=False)
    audio_loss_by_noise: tuple[float, ...] = field(default=(), compare=False)
    loss_by_data_set: tuple[float, ...] = field(default=(), compare=False)
    stage: int = field(default=1, compare=False)
    stages: int = field(default=1, compare=False)

    @property
    def losses(self) -> dict[str, float]:
        """The loss; of a run with sound those of video and audio, as "video_loss" and "audio_loss"; of one with several
        data sets each one's, as "data_set_1_loss"."""
        parts = {"video_loss": self.video_loss, "audio_loss": self.audio_loss}
        for number, loss in enumerate(self.loss_by_data_set, 1):
            parts[f"data_set_{number}_loss"] = loss
        known = {name: loss for name, loss in parts.items() if not math.isnan(loss)}
        return {"loss": self.loss, **known}


@dataclass(frozen=True)
class HeldOutMeasured:
    """The loss of the clips that a run never trains on.

    Attributes:
        loss: the mean over clips and noise levels.
        best_step: the measured step with the lowest.
        text: what that means, in a sentence.
    """

    step: int
    loss: float
    best_step: int
    text: str


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


@dataclass(frozen=True)
class RunStatusChanged:
    """A run is now queued, running, paused, stopped, failed or finished.

    Attributes:
        run: its name.
        step: the step that it would resume from.
        cause, message: why it failed: one word for programs, and a text with what to do.
    """

    run: str
    status: str
    step: int
    steps: int
    cause: str | None = None
    message: str | None = None


@dataclass(frozen=True)
class RunDeleted:
    """A run was deleted with all its files."""

    run: str


Event: TypeAlias = (
    Progress
    | Notice
    | ClipSkipped
    | PermissionAsked
    | StepCompleted
    | HeldOutMeasured
    | SamplesWritten
    | CheckpointWritten
    | RunStatusChanged
    | RunDeleted
)
Reporter: TypeAlias = Callable[[Event], None]


class EventQueue:
    """A reporter that keeps events until somebody in another thread takes them."""

    def __init__(self) -> None:
        self._events: queue.SimpleQueue[Event] = queue.SimpleQueue()

    def __call__(self, event: Event) -> None:
        self._events.put(event)

    def drain(self) -> list[Event]:
        """The events since the last call."""
        events = []
        while not self._events.empty():
            events.append(self._events.get())
        return events


class StopSignal(Protocol):
    """Asked between two steps of work; a `threading.Event` is one."""

    def is_set(self) -> bool:
        """Whether the work is to stop."""
        ...


class NeverStop:
    """The stop signal of work that nobody stops."""

    def is_set(self) -> bool:
        """Always False."""
        return False


Request = Literal["sample", "checkpoint"]


class Control:
    """Requests to a run, which it answers between two forward passes. Thread-safe.

    As a `StopSignal` it is set when the run is to stop or to pause: both write a checkpoint and free the
    memory.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._asked: Literal["stop", "pause"] | None = None
        self._requests: set[Request] = set()

    @staticmethod
    def of(signal: StopSignal | None) -> "Control":
        """A control that also stops when a signal is set."""
        return signal if isinstance(signal, Control) else _Following(signal or NeverStop())

    def stop(self) -> None:
        """Asks the run to stop. It replaces a pause that was asked for before."""
        with self._lock:
            self._asked = "stop"

    def pause(self) -> None:
        """Asks the run to pause, unless it is to stop already."""
        with self._lock:
            self._asked = self._asked or "pause"

    def request(self, what: Request) -> None:
        """Asks for samples or a checkpoint after the current step."""
        with self._lock:
            self._requests.add(what)

    def is_set(self) -> bool:
        """Whether the run is to stop or to pause."""
        return self._asked is not None

    @property
    def is_pausing(self) -> bool:
        """Whether the run is to pause; False while it is to stop."""
        return self._asked == "pause"

    def take_requests(self) -> set[Request]:
        """The requests since the last call."""
        with self._lock:
            taken, self._requests = self._requests, set()
        return taken


class _Following(Control):
    def __init__(self, signal: StopSignal):
        super().__init__()
        self._signal = signal

    def is_set(self) -> bool:
        return super().is_set() or self._signal.is_set()


def ignore(event: Event) -> None:
    """The reporter of work that nobody watches."""


def raise_if_stopped(stop: StopSignal) -> None:
    """Raises `Cancelled` when a stop was asked for."""
    if stop.is_set():
        raise Cancelled("stopped on request")


def one_by_one(
    items: Iterable[Item],
    total: int,
    phase: str,
    report: Reporter,
    stop: StopSignal | None = None,
    unit: str = "clip",
) -> Iterator[Item]:
    """Gives items and reports the progress of what is done with them.

    Args:
        total: how many they are.
        phase, unit: as of `Progress`.

    Raises:
        Cancelled: between two of them, when a stop was asked for.
    """
    for done, item in enumerate(items):
        raise_if_stopped(stop or NeverStop())
        report(Progress(phase, done, total, unit))
        yield item
    report(Progress(phase, total, total, unit))
