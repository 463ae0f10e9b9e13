"""JSON messages between this process and a worker that trains for it.

They go over a TCP connection on this machine, one message a line. The worker proves with a token, which
it gets in its environment, that it is the process that was started. A pipe would not reach a worker
behind `accelerate launch`.
"""

import hmac
import json
import secrets
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

from .. import events
from ..events import Event

ADDRESS_VARIABLE = "LTXV_TRAIN_LINK"
"""Environment variable of the worker: the port and the token."""

# How often a listener asks whether the worker is still alive while it waits for the connection.
_POLL_SECONDS = 0.2
_MOST_TOKEN_BYTES = 200

Message = dict[str, Any]


class WorkerConnection:
    """One end of an open connection. `send` may be called from any thread."""

    def __init__(self, connection: socket.socket):
        self._connection = connection
        self._file = connection.makefile("rb")
        self._lock = threading.Lock()

    def send(self, message: Message) -> None:
        """Sends a message.

        Raises:
            OSError: the other side has closed the connection.
        """
        line = json.dumps(message).encode("utf-8") + b"\n"
        with self._lock:
            self._connection.sendall(line)

    def messages(self) -> Iterator[Message]:
        """Yields what the other side sends, until it closes the connection."""
        try:
            for line in self._file:
                yield json.loads(line)
        except OSError:
            return

    def close(self) -> None:
        """Closes the connection; the other side's `messages` end."""
        self._connection.close()


class WorkerListener:
    """Waits for the connection of the one process that knows the token."""

    def __init__(self) -> None:
        self._token = secrets.token_hex(32)
        self._socket = socket.create_server(("127.0.0.1", 0))
        self._socket.settimeout(_POLL_SECONDS)

    @property
    def address(self) -> str:
        """For the worker's environment."""
        return f"{self._socket.getsockname()[1]} {self._token}"

    def accept(self, give_up: Callable[[], bool]) -> WorkerConnection | None:
        """Returns the connection to the worker, or None once `give_up` is true."""
        while not give_up():
            try:
                connection, _ = self._socket.accept()
            except TimeoutError:
                continue
            connection.settimeout(_POLL_SECONDS * 10)
            if self._knows_the_token(connection):
                connection.settimeout(None)
                return WorkerConnection(connection)
            connection.close()
        return None

    def close(self) -> None:
        """Closes the port. Connections that were accepted stay open."""
        self._socket.close()

    def _knows_the_token(self, connection: socket.socket) -> bool:
        try:
            with connection.makefile("rb") as file:
                given = file.readline(_MOST_TOKEN_BYTES).strip()
        except OSError:
            return False
        return hmac.compare_digest(given, self._token.encode("ascii"))


def connect(address: str) -> WorkerConnection:
    """Opens the connection from the worker's side.

    Args:
        address: of the `WorkerListener`.

    Raises:
        OSError: nothing listens there.
    """
    port, token = address.split()
    connection = socket.create_connection(("127.0.0.1", int(port)), timeout=30)
    connection.settimeout(None)
    connection.sendall(token.encode("ascii") + b"\n")
    return WorkerConnection(connection)


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
