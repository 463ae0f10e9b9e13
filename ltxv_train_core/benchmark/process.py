"""A process that measures for this one: what runs out of memory there, or crashes, ends no benchmark."""

import os
import queue
import subprocess
import sys
import threading
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryFile
from types import TracebackType
from typing import IO, Any

from ..errors import Cancelled, LTXVTrainError
from ..events import StopSignal
from ..jobs.ipc import ADDRESS_VARIABLE, WorkerConnection, WorkerListener
from ..jobs.launcher_log import last_words
from ..jobs.process_tree import detached, end_tree
from ..models.device import device_environment
from .case import Case
from .measure import Measurement

_WORKER = Path(__file__).with_name("worker.py")
_POLL_SECONDS = 0.05
_LAST_CHARACTERS = 10_000


class MeasuringProcess:
    """Measures one case after another. After one that failed or ran out of memory the
    next has a new process.

    Attributes:
        device: lines that say what it measures on; empty before the first case.
    """

    def __init__(self, stop: StopSignal):
        self.device: tuple[str, ...] = ()
        self._stop = stop
        self._worker: _Worker | None = None

    def __enter__(self) -> "MeasuringProcess":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self._end()

    def measure(self, case: Case) -> Measurement:
        """Measures a case.

        Raises:
            Cancelled: a stop was asked for; what was measured then is gone.
        """
        try:
            if self._worker is None:
                self._worker = _Worker()
                self.device = tuple(self._worker.hello(self._stop)["device"])
            answer = self._worker.ask(asdict(case), self._stop)
        except _WorkerEnded as ended:
            self._end()
            return Measurement("failed", text=str(ended))
        except BaseException:
            self._end()
            raise
        found = Measurement(**{**answer, "seconds": tuple(answer["seconds"])})
        if found.outcome in ("out of memory", "failed"):
            self._end()
        return found

    def _end(self) -> None:
        if self._worker is not None:
            self._worker.end()
            self._worker = None


class _WorkerEnded(LTXVTrainError):
    """It ended by itself."""


class _Worker:
    def __init__(self) -> None:
        self._listener = WorkerListener()
        self._log: IO[bytes] = TemporaryFile()  # noqa: SIM115 - `end` closes it
        self._answers: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
        self._connection: WorkerConnection | None = None
        self._process = subprocess.Popen(
            [sys.executable, str(_WORKER)],
            env=os.environ
            | device_environment()
            | {ADDRESS_VARIABLE: self._listener.address, "PYTHONUTF8": "1"},
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=subprocess.STDOUT,
            **detached(),
        )

    def hello(self, stop: StopSignal) -> dict[str, Any]:
        """The first message. It has imported everything then."""
        connection = self._listener.accept(
            lambda: stop.is_set() or self._process.poll() is not None
        )
        if connection is None:
            self._raise(stop)
        assert connection is not None
        self._connection = connection
        threading.Thread(target=self._listen, args=(connection,), daemon=True).start()
        return self._answer(stop)

    def ask(self, message: Mapping[str, Any], stop: StopSignal) -> dict[str, Any]:
        assert self._connection is not None
        self._connection.send(dict(message))
        return self._answer(stop)

    def end(self) -> None:
        """Ends it, whatever it does."""
        end_tree(self._process)
        self._listener.close()
        if self._connection is not None:
            self._connection.close()
        self._log.close()

    def _listen(self, connection: WorkerConnection) -> None:
        for message in connection.messages():
            self._answers.put(message)

    def _answer(self, stop: StopSignal) -> dict[str, Any]:
        while True:
            has_ended = self._process.poll() is not None or stop.is_set()
            try:
                return self._answers.get(timeout=_POLL_SECONDS)
            except queue.Empty:
                if has_ended:
                    self._raise(stop)

    def _raise(self, stop: StopSignal) -> None:
        if stop.is_set():
            raise Cancelled("stopped on request")
        self._log.seek(0)
        said = self._log.read()[-_LAST_CHARACTERS:].decode("utf-8", "replace")
        raise _WorkerEnded(last_words(said, self._process.wait()))
