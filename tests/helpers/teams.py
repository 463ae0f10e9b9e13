"""A team of threads in the place of processes."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

Result = TypeVar("Result")


@dataclass
class _Meeting:
    barrier: threading.Barrier
    value: Any = None


@dataclass(frozen=True)
class ThreadTeam:
    rank: int
    count: int
    meeting: _Meeting

    def agree(self, value: Any) -> Any:
        if self.rank == 0:
            self.meeting.value = value
        self.meeting.barrier.wait(60)
        agreed = self.meeting.value
        self.meeting.barrier.wait(60)
        return agreed


def share(count: int, work: Callable[[ThreadTeam], Result]) -> list[Result]:
    """What each member of a team returns, in order."""
    meeting = _Meeting(threading.Barrier(count))
    teams = [ThreadTeam(rank, count, meeting) for rank in range(count)]
    with ThreadPoolExecutor(count) as threads:
        return list(threads.map(work, teams))
