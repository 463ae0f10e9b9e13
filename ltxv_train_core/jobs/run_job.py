"""The job of a run: it waits, trains or is paused in this process."""

import threading
from collections.abc import Callable

from ..errors import Cancelled
from ..events import Control, Event, Reporter, RunStatusChanged, StepCompleted
from ..runs import RunFolder, RunWriter, Status
from ..training.run_plan import RunPlan
from ..training.trainer import TrainingResult
from .listeners import Listeners

Train = Callable[[RunPlan, RunWriter, Reporter, Control], TrainingResult]
"""Trains a plan whose lock is held: `trainer.train_plan`, or a `SubprocessTrainer`."""


class RunJob:
    """Made by `JobManager.submit`; only the manager changes it. It outlives a pause.

    Attributes:
        status, step: as last reported.
        resumes: it is asked to pause and then to resume.
        listeners: are called with each event, from the thread that works on the run.
    """

    def __init__(
        self,
        plan: RunPlan,
        writer: RunWriter,
        train: Train,
        device: str,
        before_training: Callable[[], None] | None = None,
    ):
        self.plan, self.writer, self.train, self.device = plan, writer, train, device
        self.before_training, self.resumes = before_training, False
        self.control = Control()
        self.thread: threading.Thread | None = None
        self.status: Status = "queued"
        self.step = 0
        self.listeners: Listeners[Event] = Listeners()
        self._ended = threading.Event()
        self._result: TrainingResult | None = None
        self._error: Exception | None = None

    @property
    def run(self) -> RunFolder:
        """The folder of the run that is trained."""
        return self.plan.run

    @property
    def name(self) -> str:
        """Name of the run, which is its folder's."""
        return self.plan.run.name

    def report(self, event: Event) -> None:
        """The reporter of the run: takes an event, wherever the run trains, and hands it to the
        listeners."""
        if isinstance(event, StepCompleted):
            self.step = event.step
        elif isinstance(event, RunStatusChanged):
            self.status, self.step = event.status, event.step  # type: ignore[assignment]
        self.listeners(event)

    def wait(self, seconds: float | None = None) -> bool:
        """Waits until it has finished, stopped or failed. A paused job has not ended.

        Args:
            seconds: the longest wait; None waits without a limit.

        Returns:
            whether it has ended.
        """
        return self._ended.wait(seconds)

    def result(self) -> TrainingResult:
        """Waits for the end and returns the result.

        Raises:
            Cancelled: stopped before its first step.
            LTXVTrainError: it failed.
        """
        self._ended.wait()
        if self._error is not None:
            raise self._error.with_traceback(None)
        assert self._result is not None
        return self._result

    def end(self, result: TrainingResult | None, error: Exception | None) -> None:
        """Sets what `result` returns or raises; without either the run was stopped before step 1."""
        self._result = result
        self._error = error if result is None else None
        if result is None and error is None:
            self._error = Cancelled("stopped before the first step")
        self._ended.set()
