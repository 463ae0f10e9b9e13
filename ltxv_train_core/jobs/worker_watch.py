"""Follows a worker process: reports its events, sends it requests, and ends it when it hangs."""

import contextlib
import math
import subprocess
import threading

from ..errors import LTXVTrainError
from ..events import Control, Event, Progress, Reporter, StepCompleted
from ..runs import Failure
from ..training.saves import SAVE_PHASE
from .ipc import ACCEPT_SECONDS, Message, WorkerConnection, WorkerListener, to_event
from .process_tree import end_tree

_POLL_SECONDS = 0.05
OPENING_SECONDS = 300.0
"""How long a worker may take to open the connection; its imports come before."""
SILENCE_SECONDS = 60.0
"""How long it may send nothing; it sends a heartbeat every few seconds."""
GRACE_SECONDS = 60.0
"""How long it may work on after a stop without an event: to the end of a forward pass or of the load of a
model. Of slow steps, two step times."""
SAVING_SECONDS = 1800.0
"""How long it may save after a stop."""
LAST_SECONDS = 10.0
"""How long the launcher and the other processes may take to end after the first one."""

_RESUME = "Queue the run again to resume it from where it was last saved"


class WorkerEnded(LTXVTrainError):
    """The worker was ended from here.

    Attributes:
        cause: why; None where a stop was asked for.
    """

    def __init__(self, message: str, cause: Failure | None = None):
        self.cause = cause
        super().__init__(message)


class WorkerWatch:
    """One worker, from its start to its end.

    Time is counted in polls: while the computer sleeps, nobody is silent.
    """

    def __init__(self, process: "subprocess.Popen[bytes]", report: Reporter, control: Control):
        self.process, self.report, self.control = process, report, control
        self._now = self._heard = self._moved = 0.0
        self._asked = self._closed = math.inf
        self._sent: str | None = None
        self._step_seconds = 0.0
        self._is_saving = False

    def follow(self, listener: WorkerListener) -> None:
        """Returns when the worker has ended by itself.

        Raises:
            WorkerEnded: it hung, or did not stop when it was asked to; all its processes are gone.
        """
        connection = listener.accept(self._gives_up)
        if connection is None:
            self._end_unopened()
            return
        reader = threading.Thread(target=self._read, args=(connection,), daemon=True)
        reader.start()
        self._heard = self._moved = self._now
        try:
            while not self._has_ended():
                self._send_requests(connection)
                self._end_if_hung()
        finally:
            reader.join(LAST_SECONDS)
            connection.close()

    def _has_ended(self) -> bool:
        """Whether the process has ended, after a moment."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(_POLL_SECONDS)
            return True
        self._now += _POLL_SECONDS
        return False

    def _gives_up(self) -> bool:
        self._now += ACCEPT_SECONDS
        is_late = self._now > OPENING_SECONDS
        return is_late or self.control.is_set() or self.process.poll() is not None

    def _end_unopened(self) -> None:
        """Ends a process that has not begun to train; one that has ended by itself is left."""
        if self.process.poll() is not None:
            return
        end_tree(self.process)
        if self.control.is_set():
            raise WorkerEnded("stopped while the training process started")
        raise _hung(f"the training process has not begun within {OPENING_SECONDS:g} s")

    def _read(self, connection: WorkerConnection) -> None:
        for message in connection.messages():
            self._heard = self._now
            if "event" in message:
                self._take(message)
        self._closed = self._now

    def _take(self, message: Message) -> None:
        event: Event = to_event(message)
        self._moved = self._now
        self._is_saving = (
            isinstance(event, Progress) and event.phase == SAVE_PHASE and event.done < event.total
        )
        if isinstance(event, StepCompleted):
            self._step_seconds = event.step_seconds
        self.report(event)

    def _send_requests(self, connection: WorkerConnection) -> None:
        requests: list[str] = list(self.control.take_requests())
        end = "pause" if self.control.is_pausing else "stop"
        if self.control.is_set() and end != self._sent:
            requests.append(end)
            self._asked = min(self._asked, self._now)
            self._sent = end
        with contextlib.suppress(OSError):
            for each in requests:
                connection.send({"ask": each})

    def _end_if_hung(self) -> None:
        if self._now - self._closed > LAST_SECONDS:  # what it had to say is in the run's state
            end_tree(self.process)
        elif math.isinf(self._closed) and self._now - self._heard > SILENCE_SECONDS:
            end_tree(self.process)
            raise _hung(f"the training process has not answered for {SILENCE_SECONDS:g} s")
        elif self._now - max(self._asked, self._moved) > self._grace():
            end_tree(self.process)
            raise WorkerEnded(
                f"the training process did not stop within {self._grace():g} s and was ended; steps "
                "since it was last saved are lost"
            )

    def _grace(self) -> float:
        return SAVING_SECONDS if self._is_saving else max(GRACE_SECONDS, 2 * self._step_seconds)


def _hung(message: str) -> WorkerEnded:
    return WorkerEnded(message, Failure("hung", f"{message}, and was ended", _RESUME))
