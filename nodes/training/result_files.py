"""Change detection: fingerprints for nodes whose result files may be deleted."""

import time
from pathlib import Path


def always_changed() -> int:
    """Returns a fingerprint that is never the same twice."""
    return time.time_ns()


class ResultFiles:
    """Files that outputs of nodes name. ComfyUI caches those outputs, even after somebody deletes the
    files."""

    def __init__(self) -> None:
        self._there: set[Path] = set()
        self._gone = 0

    def add(self, path: Path) -> None:
        """Watches a file that an output names."""
        self._there.add(path)

    def count_deleted(self) -> int:
        """Counts the deleted files: a fingerprint that changes when one more is gone."""
        gone = {path for path in self._there if not path.exists()}
        self._there -= gone
        self._gone += len(gone)
        return self._gone
