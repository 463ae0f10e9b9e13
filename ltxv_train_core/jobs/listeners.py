"""Hands events to those who listen."""

import logging
import threading
from collections.abc import Callable
from typing import Generic, ParamSpec

P = ParamSpec("P")

logger = logging.getLogger("ltxv_train")


class Listeners(Generic[P]):
    """Called like one listener, it calls all of them in the order in which they came. Thread-safe.

    A listener that fails is logged: neither the work nor the other listeners are disturbed.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._listeners: tuple[Callable[P, None], ...] = ()

    def add(self, listener: Callable[P, None]) -> Callable[[], None]:
        """Calls a listener from now on, in the thread that does the work.

        Returns:
            what ends that.
        """
        with self._lock:
            self._listeners = (*self._listeners, listener)

        def remove() -> None:
            with self._lock:
                self._listeners = tuple(each for each in self._listeners if each is not listener)

        return remove

    def __call__(self, *arguments: P.args, **options: P.kwargs) -> None:
        for listener in self._listeners:
            try:
                listener(*arguments, **options)
            except Exception:
                logger.exception("a listener failed")
