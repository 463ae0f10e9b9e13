"""What a process does when one that it trains with hangs or is gone."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import torch.distributed as dist

from ..runs import Failure
from . import distributed
from .distributed import Processes
from .heartbeats import BEAT_SECONDS, SILENT_BEATS, Heartbeats

_RESUME = "Queue the run again to resume it from where it was last saved"


_OF_GLOO = ("gloo", "pair closure")
"""What its errors say; the latter where the time is over."""


class ProcessLostError(RuntimeError):
    """Another process is gone: what was to be added up with it can't be."""

    @property
    def cause(self) -> Failure:
        return Failure("crashed", str(self), _RESUME)


@contextmanager
def watched(processes: Processes, fail: Callable[[Failure], None]) -> Iterator[None]:
    """Trains within the block while the other processes do.

    Args:
        fail: writes down why the run failed, where another process hangs. Then this process ends at
            once, for its main thread waits for the other one in vain.

    Raises:
        ProcessLostError: another process has ended.
    """

    def end(rank: int) -> None:
        message = (
            f"{processes.name_of(rank)} has not answered for {BEAT_SECONDS * SILENT_BEATS:g} s"
        )
        fail(Failure("hung", message, _RESUME))
        os._exit(1)  # with which the launcher ends the others

    beats = processes.watch(end)
    try:
        yield
    except Exception as error:
        if beats is None or not _is_of_connection(error):
            raise
        raise ProcessLostError(_who(processes, beats)) from error
    finally:
        if beats is not None:
            beats.close()


def _is_of_connection(error: Exception) -> bool:
    """Whether another process could not be reached. Errors of gloo have no type of their own."""
    said = str(error).lower()
    return isinstance(error, dist.DistError) or any(words in said for words in _OF_GLOO)


def _who(processes: Processes, beats: Heartbeats) -> str:
    with suppress(RuntimeError):  # the store is gone with the first process
        rank = beats.find_lost()
        if rank is None:
            minutes = distributed.COLLECTIVE.total_seconds() / 60
            return (
                f"the connection to another process broke, or one was stuck for {minutes:g} minutes"
            )
        return f"{processes.name_of(rank)} is gone"
    return f"{processes.name_of(0)} is gone"
