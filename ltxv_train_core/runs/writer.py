"""The writer of a run: holds the run's lock and changes its state.

The lock is the operating system's, on a file beside the runs. It is freed when the process that holds it
ends, even by a crash.
"""

import os
from pathlib import Path
from types import TracebackType
from typing import Any

from filelock import FileLock, Timeout

from ..errors import LTXVTrainError
from .folder import RunFolder
from .own_files import is_link, is_own_file
from .state import RunState, Status

PATIENCE_SECONDS = 2.0
"""How long `acquire` waits: longer than `is_held` of another process holds the lock to test it."""

_held_here: set[str] = set()
"""The locks that this process holds. Testing them needs no system call."""


class RunBusyError(LTXVTrainError):
    """Another job, of this or another program, trains the run."""


class RunWriter:
    """Holds the lock of a run from `acquire` to `release`, and changes its state."""

    def __init__(self, run: RunFolder):
        self.run = run
        # Another thread may release it, and the same thread may not acquire it twice.
        self._lock = FileLock(run.lock_file, thread_local=False)

    def acquire(self, patience_seconds: float = PATIENCE_SECONDS) -> "RunWriter":
        """Takes the lock.

        Args:
            patience_seconds: the longest wait for it.

        Raises:
            RunBusyError: another writer holds it.
            LTXVTrainError: the folder of the runs can't be written.
        """
        _require_lock_file(self.run.lock_file)
        try:
            self.run.lock_file.parent.mkdir(parents=True, exist_ok=True)
            self._lock.acquire(timeout=patience_seconds)
        except Timeout:
            raise RunBusyError(
                f"run {self.run.name} is being trained by another job or program; wait for it, or "
                "stop it there"
            ) from None
        except OSError as error:
            raise LTXVTrainError(
                f"{self.run.folder}: no run can be written there ({error.strerror}); change "
                "output_dir or name, or who may write"
            ) from error
        _held_here.add(str(self.run.lock_file))
        return self

    @property
    def holds_lock(self) -> bool:
        """Whether this writer holds the lock now."""
        return self._lock.is_locked

    def release(self) -> None:
        """Frees the lock."""
        _held_here.discard(str(self.run.lock_file))
        self._lock.release()

    def __enter__(self) -> "RunWriter":
        return self if self.holds_lock else self.acquire()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.release()

    def begin(self, state: RunState) -> RunState:
        """Writes the first state of a run that has none, and returns the state that it has."""
        return self.run.written_state() or self._write(state)

    def move(self, status: Status, **changes: Any) -> RunState:
        """Changes the status, and other fields of the state, and returns the new state."""
        state = self.run.written_state()
        assert state is not None, f"{self.run.folder} has no state"
        return self._write(state.moved(status, **changes))

    def _write(self, state: RunState) -> RunState:
        assert self.holds_lock, f"the lock of {self.run.name} is not held"
        self.run.write_state(state)
        return state


def is_held(run: RunFolder) -> bool:
    """Whether a writer holds the lock of a run now."""
    if str(run.lock_file) in _held_here:
        return True
    if not is_own_file(run.lock_file):
        return False
    lock = FileLock(run.lock_file, thread_local=False)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return True
    except OSError:  # a folder that can only be read
        return False
    lock.release()
    return False


def _require_lock_file(path: Path) -> None:
    """Opening a lock empties it: it must not lead to somebody's file."""
    if is_link(path.parent) or (os.path.lexists(path) and not is_own_file(path)):
        raise LTXVTrainError(f"{path}: is a link or no lock file; delete it")
