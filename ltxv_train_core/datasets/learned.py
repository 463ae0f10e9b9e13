"""What was learned of files, known for as long as they stay as they are and this process runs."""

from collections.abc import Callable
from pathlib import Path
from typing import Generic, TypeVar

from ..permissions import policy

Fact = TypeVar("Fact")

MOST_FILES = 200_000
"""Of which each takes some 400 bytes; beyond, those that were learned first are forgotten."""


class Learned(Generic[Fact]):
    """A function of a file's content that reads a file once, and again when its size or time changed."""

    def __init__(self, learn: Callable[[Path], Fact]):
        self._learn = learn
        self._known: dict[str, tuple[tuple[int, ...], Fact]] = {}

    def __call__(self, path: Path) -> Fact:
        """Raises what the function raises, and `NotAllowedError` for what may not be read."""
        policy().require_read(path)  # it may be a link
        try:
            status = path.stat()
        except OSError:
            return self._learn(path)  # which says why it can't
        stamp = (status.st_mtime_ns, status.st_size, status.st_ino)
        known = self._known.get(str(path))
        if known is not None and known[0] == stamp:
            return known[1]
        fact = self._learn(path)
        while len(self._known) >= MOST_FILES:
            self._known.pop(next(iter(self._known)), None)
        self._known[str(path)] = stamp, fact
        return fact
