"""JSON messages between this process and a worker that trains for it.

They go over a TCP connection, as `multiprocessing.connection` keeps it: both sides prove that they know a
key, which the worker gets in its environment. A pipe would not reach a worker behind a launcher.
Messages are JSON, never pickles.
"""

import json
import queue
import secrets
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import fields
from multiprocessing import AuthenticationError
from multiprocessing.connection import Client, Connection, answer_challenge, deliver_challenge
from pathlib import Path
from typing import Any

from .. import events
from ..events import Event

ADDRESS_VARIABLE = "LTXV_TRAIN_LINK"
"""Environment variable of the worker: host, port and key."""

BEAT_SECONDS = 5.0
"""How often a worker says that it lives."""

ACCEPT_SECONDS = 0.2
"""How often a listener asks whether to give up."""

_MOST_MESSAGE_BYTES = 2**24

Message = dict[str, Any]
BEAT: Message = {"beat": True}


class WorkerConnection:
    """One end of an open connection. `send` may be called from any thread."""

    def __init__(self, connection: Connection):
        self._connection = connection
        self._lock = threading.Lock()

    def send(self, message: Message) -> None:
        """Sends a message.

        Raises:
            OSError: the other side has closed the connection.
        """
        data = json.dumps(message).encode("utf-8")
        with self._lock:
            self._connection.send_bytes(data)

    def messages(self) -> Iterator[Message]:
        """Yields what the other side sends, until it closes the connection."""
        try:
            while True:
                yield json.loads(self._connection.recv_bytes(_MOST_MESSAGE_BYTES))
        except (EOFError, OSError):
            return

    def beat(self) -> None:
        """Sends heartbeats from a thread of its own, until the other side has closed the connection."""
        threading.Thread(target=self._beat, name="ltxv-train heartbeat", daemon=True).start()

    def close(self) -> None:
        """Closes the connection; the other side's `messages` end."""
        self._connection.close()

    def _beat(self) -> None:
        pause = threading.Event()
        try:
            while not pause.wait(BEAT_SECONDS):
                self.send(BEAT)
        except OSError:
            return


class WorkerListener:
    """Waits for the connection of the one process that knows the key."""

    def __init__(self, host: str = "127.0.0.1") -> None:
        """
        Args:
            host: this machine's address that the worker can reach.
        """
        self._key = secrets.token_bytes(32)
        self._socket = socket.create_server((host, 0))
        self._socket.settimeout(ACCEPT_SECONDS)
        self._inside: queue.SimpleQueue[WorkerConnection] = queue.SimpleQueue()

    @property
    def address(self) -> str:
        """For the worker's environment."""
        host, port = self._socket.getsockname()[:2]
        return f"{host} {port} {self._key.hex()}"

    def accept(self, give_up: Callable[[], bool]) -> WorkerConnection | None:
        """Returns the connection to the worker, or None once `give_up` is true.

        Each caller is asked for the key in a thread of its own: a stranger who says nothing keeps nobody
        waiting. `multiprocessing.connection.Listener.accept` has no timeout.
        """
        while not give_up():
            try:
                caller, _ = self._socket.accept()
            except TimeoutError:
                pass
            else:
                connection = Connection(caller.detach())
                threading.Thread(target=self._admit, args=(connection,), daemon=True).start()
            if not self._inside.empty():
                return self._inside.get()
        return None

    def close(self) -> None:
        """Closes the port. Connections that were accepted stay open."""
        self._socket.close()

    def _admit(self, connection: Connection) -> None:
        try:
            deliver_challenge(connection, self._key)
            answer_challenge(connection, self._key)
        except (AuthenticationError, EOFError, OSError):
            connection.close()
        else:
            self._inside.put(WorkerConnection(connection))


def connect(address: str) -> WorkerConnection:
    """Opens the connection from the worker's side.

    Args:
        address: of the `WorkerListener`.

    Raises:
        OSError: nothing listens there.
    """
    host, port, key = address.split()
    return WorkerConnection(Client((host, int(port)), authkey=bytes.fromhex(key)))


def to_message(event: Event) -> Message:
    """Turns an event into JSON."""
    values = {field.name: getattr(event, field.name) for field in fields(event)}
    return {"event": type(event).__name__, "values": {k: _pack(v) for k, v in values.items()}}


def to_event(message: Message) -> Event:
    """Turns what `to_message` returned back into the event."""
    kind = getattr(events, message["event"])
    result: Event = kind(**{name: _unpack(value) for name, value in message["values"].items()})
    return result


def _pack(value: Any) -> Any:
    if isinstance(value, Path):
        return {"path": str(value)}
    if isinstance(value, tuple):
        return [_pack(item) for item in value]
    return value


def _unpack(value: Any) -> Any:
    if isinstance(value, dict):
        return Path(value["path"])
    if isinstance(value, list):
        return tuple(_unpack(item) for item in value)
    return value
