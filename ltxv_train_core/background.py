"""Long work in a thread of its own: started, watched, stopped between two steps."""

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

from .events import Event, EventQueue, Reporter, StopSignal

Result = TypeVar("Result")


class Job(Generic[Result]):
    """Runs `target(report, stop)` in a new thread.

    A new thread starts outside the caller's inference mode and context variables. Events wait in
    a queue until the caller takes them; whatever the target raises is raised again by `result`.
    """

    def __init__(self, target: Callable[[Reporter, StopSignal], Result], name: str = "ltxv-train"):
        self._target = target
        self._stop = threading.Event()
        self._events = EventQueue()
        self._outcome: Result | None = None
        self._error: BaseException | None = None
        # Not `Thread.join`: interrupted by Ctrl-C it takes a running thread for ended.
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> "Job[Result]":
        """Starts the thread. Returns the job itself, so that a call can follow."""
        self._thread.start()
        return self

    def cancel(self) -> None:
        """Asks the work to stop at its next step."""
        self._stop.set()

    def wait(self, seconds: float | None = None) -> bool:
        """Waits for the end, at most so long; returns whether it has come."""
        return self._ended.wait(seconds)

    def drain(self) -> list[Event]:
        """The events since the last call."""
        return self._events.drain()

    def result(self) -> Result:
        """Waits for the end and returns what the target returned, or raises what it raised."""
        self._ended.wait()
        if self._error is not None:
            raise self._error
        return self._outcome  # type: ignore[return-value]

    def _run(self) -> None:
        try:
            self._outcome = self._target(self._events, self._stop)
        except BaseException as error:
            self._error = error
        finally:
            self._ended.set()
