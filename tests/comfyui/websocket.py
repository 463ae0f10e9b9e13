"""Reads a web socket, with nothing but the standard library (RFC 6455, text and binary frames)."""

import base64
import os
import socket
import struct
from collections.abc import Iterator

TEXT, BINARY, CLOSE, PING = 1, 2, 8, 9


class WebSocket:
    def __init__(self, host: str, port: int, path: str):
        self._socket = socket.create_connection((host, port), timeout=10)
        key = base64.b64encode(os.urandom(16)).decode("ascii")
        request = (
            f"GET {path} HTTP/1.1\r\nHost: {host}:{port}\r\nUpgrade: websocket\r\n"
            f"Connection: Upgrade\r\nSec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n"
        )
        self._socket.sendall(request.encode("ascii"))
        self._file = self._socket.makefile("rb")
        status = self._file.readline()
        assert b" 101 " in status, status
        while self._file.readline().strip():
            pass
        self._socket.settimeout(None)

    def messages(self) -> Iterator[str | bytes]:
        """Messages until the server closes: text as str, binary as bytes."""
        parts, kind = b"", TEXT
        while frame := self._frame():
            final, opcode, data = frame
            if opcode == CLOSE:
                return
            if opcode not in (0, TEXT, BINARY):
                continue
            kind = opcode or kind
            parts += data
            if final:
                yield parts.decode("utf-8") if kind == TEXT else parts
                parts = b""

    def close(self) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._file.close()
        self._socket.close()

    def _frame(self) -> tuple[bool, int, bytes] | None:
        head = self._file.read(2)
        if len(head) < 2:
            return None
        length = head[1] & 0x7F
        if length == 126:
            (length,) = struct.unpack(">H", self._file.read(2))
        elif length == 127:
            (length,) = struct.unpack(">Q", self._file.read(8))
        return bool(head[0] & 0x80), head[0] & 0x0F, self._file.read(length)
