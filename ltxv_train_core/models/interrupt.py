"""Ends long work of a library that asks nobody whether to stop, such as a compiler's."""

import ctypes
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from ..errors import Cancelled
from ..events import StopSignal

LOOKED_EVERY_SECONDS = 0.2
ASKED_AGAIN_SECONDS = 5.0
"""The library may have caught what ended it."""


_here = threading.local()


class _Interrupted(BaseException):
    """Raised where the thread happens to be. No `Exception`: libraries catch those."""


@contextmanager
def interrupted_by(stop: StopSignal) -> Iterator[None]:
    """Within the block of code, the thread is interrupted soon after a stop was asked for.

    It is interrupted between two steps of Python: not while it waits for another process.

    Raises:
        Cancelled: it was.
    """
    if getattr(_here, "is_watched", False):  # by a block of code around this one
        yield
        return
    thread, is_over = threading.get_ident(), threading.Event()

    def watch() -> None:
        seconds = LOOKED_EVERY_SECONDS
        while not is_over.wait(seconds):
            if stop.is_set():
                seconds = ASKED_AGAIN_SECONDS
                kind = ctypes.py_object(_Interrupted)
                ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), kind)

    watcher = threading.Thread(target=watch, name="ltxv-interrupt", daemon=True)
    _here.is_watched = True
    watcher.start()
    try:
        try:
            yield
        finally:
            is_over.set()
            watcher.join()
            _here.is_watched = False
    except _Interrupted:
        raise Cancelled("stopped while the model was compiled") from None
