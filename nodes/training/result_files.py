"""When a node runs again although its inputs are the same."""

import time
from pathlib import Path


def every_time() -> int:
    """A fingerprint that is never the same twice."""
    return time.time_ns()


class Given:
    """Where the results lie that nodes gave. ComfyUI keeps those, also when somebody deletes what
    they name."""

    def __init__(self) -> None:
        self._there: set[Path] = set()
        self._gone = 0

    def add(self, path: Path) -> None:
        self._there.add(path)

    def count_gone(self) -> int:
        """A fingerprint that changes when something was deleted since it was given."""
        gone = {path for path in self._there if not path.exists()}
        self._there -= gone
        self._gone += len(gone)
        return self._gone
