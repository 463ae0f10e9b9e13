"""What one pass over a data set has done so far, and how it is reported."""

import time
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from ..events import ClipSkipped, Progress, Reporter, StopSignal, raise_if_stopped

Item = TypeVar("Item")


class PassLog:
    """Attributes:
    written, reused: counts of the clips' files.
    reread: those of the written ones that an earlier version had made, from another reading.
    skipped: (name, reason) of clips that were skipped.
    """

    def __init__(self, report: Reporter, stop: StopSignal):
        self.report = report
        self.stop = stop
        self.written = 0
        self.reused = 0
        self.reread = 0
        self.skipped: list[tuple[str, str]] = []

    def skip(self, name: str, reason: str) -> None:
        self.skipped.append((name, reason))
        self.report(ClipSkipped(name, reason))

    def each(
        self, phase: str, items: Iterable[Item], total: int, name_of: Callable[[Item], str]
    ) -> Iterator[Item]:
        """Reports progress with names and the time that is left, and stops between two items."""
        started = time.monotonic()
        for done, item in enumerate(items):
            left = (time.monotonic() - started) / done * (total - done) if done else None
            self.report(Progress(phase, done, total, "clip", name_of(item), left))
            raise_if_stopped(self.stop)
            yield item
        if total:
            self.report(Progress(phase, total, total, "clip"))
