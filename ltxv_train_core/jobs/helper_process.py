"""A process that works for this one: what runs out of memory there, hangs or crashes, ends nothing here.

It is started by the path of a script, which calls `serve`.
"""

import os
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from tempfile import TemporaryFile
from types import TracebackType
from typing import IO

from ..errors import Cancelled, LTXVTrainError
from ..events import StopSignal
from ..models.device import device_environment
from .ipc import ADDRESS_VARIABLE, Message, WorkerConnection, WorkerListener, connect
from .launcher_log import last_words
from .process_tree import detached, end_tree

_POLL_SECONDS = 0.05
_LAST_CHARACTERS = 10_000


class HelperEnded(LTXVTrainError):
    """It ended by itself."""


class HelperTimeout(LTXVTrainError):
    """It has not answered within the time that it had."""


class HelperProcess:
    """Answers messages one by one. Its process starts with the first message, and again after one that ended it.

    Args:
        script: that calls `serve`.

    Attributes:
        greeting: what the script says first; empty before the first message.
    """

    def __init__(self, script: Path, stop: StopSignal):
        self.greeting: Message = {}
        self._script = script
        self._stop = stop
        self._process: _Process | None = None

    def __enter__(self) -> "HelperProcess":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self.end()

    def ask(self, message: Mapping[str, object], seconds: float | None = None) -> Message:
        """Its answer to a message.

        Args:
            seconds: that it has for it.

        Raises:
            Cancelled: a stop was asked for.
            HelperEnded: the process ended.
            HelperTimeout: it has had no answer in time.
        """
        try:
            if self._process is None:
                self._process = _Process(self._script)
                self.greeting = self._process.hello(self._stop)
            return self._process.ask(message, self._stop, seconds)
        except BaseException:
            self.end()
            raise

    def end(self) -> None:
        """Ends its process, whatever that does."""
        if self._process is not None:
            self._process.end()
            self._process = None


class _Process:
    def __init__(self, script: Path):
        self._listener = WorkerListener()
        self._log: IO[bytes] = TemporaryFile()  # noqa: SIM115 - `end` closes it
        self._answers: queue.SimpleQueue[Message] = queue.SimpleQueue()
        self._connection: WorkerConnection | None = None
        self._process = subprocess.Popen(
            [sys.executable, str(script)],
            env=os.environ
            | device_environment()
            | {ADDRESS_VARIABLE: self._listener.address, "PYTHONUTF8": "1"},
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=subprocess.STDOUT,
            **detached(),
        )

    def hello(self, stop: StopSignal) -> Message:
        """The first message. It has imported everything then."""
        connection = self._listener.accept(
            lambda: stop.is_set() or self._process.poll() is not None
        )
        if connection is None:
            self._raise(stop)
        assert connection is not None
        self._connection = connection
        threading.Thread(target=self._listen, args=(connection,), daemon=True).start()
        return self._answer(stop, None)

    def ask(
        self, message: Mapping[str, object], stop: StopSignal, seconds: float | None
    ) -> Message:
        assert self._connection is not None
        self._connection.send(dict(message))
        return self._answer(stop, seconds)

    def end(self) -> None:
        end_tree(self._process)
        self._listener.close()
        if self._connection is not None:
            self._connection.close()
        self._log.close()

    def _listen(self, connection: WorkerConnection) -> None:
        for message in connection.messages():
            self._answers.put(message)

    def _answer(self, stop: StopSignal, seconds: float | None) -> Message:
        ends = None if seconds is None else time.monotonic() + seconds
        while True:
            has_ended = self._process.poll() is not None or stop.is_set()
            try:
                return self._answers.get(timeout=_POLL_SECONDS)
            except queue.Empty:
                if has_ended:
                    self._raise(stop)
            if ends is not None and time.monotonic() > ends:
                raise HelperTimeout(f"did not end within {seconds:.0f} s")

    def _raise(self, stop: StopSignal) -> None:
        if stop.is_set():
            raise Cancelled("stopped on request")
        self._log.seek(0)
        said = self._log.read()[-_LAST_CHARACTERS:].decode("utf-8", "replace")
        raise HelperEnded(last_words(said, self._process.wait()))


def serve(hello: Message, answer: Callable[[Message], Message]) -> None:
    """What such a process does: greets, and answers each message, until nobody waits for it."""
    connection = connect(os.environ[ADDRESS_VARIABLE])
    asked: queue.SimpleQueue[Message] = queue.SimpleQueue()
    threading.Thread(target=_take, args=(connection, asked), daemon=True).start()
    connection.send(hello)
    while True:
        connection.send(answer(asked.get()))


def _take(connection: WorkerConnection, asked: "queue.SimpleQueue[Message]") -> None:
    """Takes messages. When the process that started this one has ended, nobody waits for an answer."""
    for message in connection.messages():
        asked.put(message)
    os._exit(0)
