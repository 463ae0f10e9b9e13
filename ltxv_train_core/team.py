"""Processes that share one piece of work. The core's rooms see them through this alone."""

from dataclasses import dataclass
from typing import Any, Protocol


class Team(Protocol):
    """This process among those that share a piece of work."""

    @property
    def rank(self) -> int: ...

    @property
    def count(self) -> int: ...

    def agree(self, value: Any) -> Any:
        """What the first process has, in every process; all of them wait for each other here."""
        ...


@dataclass(frozen=True)
class _Alone:
    rank: int = 0
    count: int = 1

    def agree(self, value: Any) -> Any:
        return value


ALONE: Team = _Alone()
