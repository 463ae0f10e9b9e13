"""Lets the system refuse to write, from the n-th time on that a file in a folder is opened to be
written, renamed, or a folder is made.

Python tells its audit hooks of these calls before it makes them, and what a hook raises they raise:
so the code under test is the real one, and its libraries too, as far as they are Python.
"""

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
_armed: list["Fault"] = []


class Fault:
    """Counts the writes in a folder.

    Attributes:
        writes: how many there were.
    """

    def __init__(self, folder: Path, number: int, first: int, once: bool):
        self.folder, self.number, self.first, self.once = str(folder), number, first, once
        self.writes = 0

    @property
    def has_struck(self) -> bool:
        return self.writes >= self.first

    def meet(self, path: object) -> None:
        if not isinstance(path, str | os.PathLike) or not os.fspath(path).startswith(self.folder):
            return
        self.writes += 1
        if self.writes == self.first or (self.has_struck and not self.once):
            raise OSError(self.number, os.strerror(self.number), os.fspath(path))


def _hook(event: str, arguments: tuple) -> None:
    if not _armed:
        return
    if (event == "open" and arguments[2] & _WRITING) or event in ("os.rename", "os.mkdir"):
        _armed[-1].meet(arguments[0])


@contextmanager
def refused(folder: Path, number: int, first: int, once: bool = False) -> Iterator[Fault]:
    """Within the block, writes into a folder fail with an error of the system: the
    `first` one, and all that follow unless `once`."""
    if not _installed:
        sys.addaudithook(_hook)  # it can't be removed again
        _installed.append(True)
    fault = Fault(folder, number, first, once)
    _armed.append(fault)
    try:
        yield fault
    finally:
        _armed.remove(fault)


_installed: list[bool] = []


@contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """No file grows beyond that, whichever library writes it."""
    resource = pytest.importorskip("resource")
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
