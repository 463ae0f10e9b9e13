"""Faults of the disk and of the system, by name: whatever writes files can meet them."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeGuard

from ..errors import LTXVTrainError


@dataclass(frozen=True)
class Fault:
    """What is wrong, and what to do.

    Attributes:
        kind: one word for programs.
    """

    kind: str
    message: str
    advice: str


_FULL = Fault("disk_full", "the disk is full", "Make room")
_FAILING = Fault("disk_error", "the disk fails", "Look at the drive and its connection")
_READ_ONLY = Fault(
    "read_only",
    "it may not be written there, or another program uses it",
    "Change who may write, or use another folder",
)
_TOO_MANY = Fault(
    "too_many_files",
    "too many files are open",
    "Close other programs, or allow more open files (ulimit -n)",
)

_FAULTS = {
    errno.ENOSPC: _FULL,
    errno.EFBIG: _FULL,
    getattr(errno, "EDQUOT", errno.ENOSPC): _FULL,
    errno.EIO: _FAILING,
    errno.EROFS: _READ_ONLY,
    errno.EACCES: _READ_ONLY,
    errno.EPERM: _READ_ONLY,
    errno.EMFILE: _TOO_MANY,
    errno.ENFILE: _TOO_MANY,
}


class DiskError(LTXVTrainError, OSError):
    """A file can't be written, or opened, by no fault of what is in it.

    Attributes:
        reason: what happened, without what to do.
    """

    def __init__(self, reason: str, error: OSError, advice: str = ""):
        super().__init__(f"{reason}. {advice}" if advice else reason)
        self.reason, self.errno, self.strerror = reason, error.errno, error.strerror

    def __str__(self) -> str:
        return str(self.args[0])


def fault_of(error: BaseException) -> Fault | None:
    """The fault that an error of the system names; None for any other error."""
    return _FAULTS.get(error.errno or 0) if isinstance(error, OSError) else None


def is_of_writing(error: BaseException) -> bool:
    """Whether an error is a fault of the disk, and not of a file that may not be read."""
    return isinstance(error, DiskError) or fault_of(error) is not _READ_ONLY


def is_short_of_files(error: BaseException) -> TypeGuard[OSError]:
    """Whether a file could not be opened because too many are: that says nothing of the file."""
    return fault_of(error) is _TOO_MANY


@contextmanager
def named_faults(path: Path) -> Iterator[None]:
    """Raises faults of the block as `DiskError` that names the file."""
    try:
        yield
    except DiskError:
        raise
    except OSError as error:
        fault = fault_of(error)
        if fault is None:
            raise
        raise DiskError(
            f"{path}: can't be written: {fault.message} ({error.strerror or error})",
            error,
            f"{fault.advice}, then start again: finished work stays on disk",
        ) from error
