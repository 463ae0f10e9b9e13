"""The stages of a run: which one a step belongs to."""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate


@dataclass(frozen=True)
class Stages:
    """Attributes: steps: of each stage but the last; without any there is one stage."""

    steps: Sequence[int]

    @property
    def count(self) -> int:
        return len(self.steps) + 1

    @property
    def _ends(self) -> list[int]:
        return list(accumulate(self.steps))

    def after(self, done: int) -> int:
        """The stage, counted from 1, of the step that comes after so many."""
        return bisect_right(self._ends, done) + 1

    def ends_at(self, done: int) -> bool:
        """Whether a stage, but the last, ends with so many steps."""
        return done in self._ends

    def span(self, stage: int, steps: int) -> tuple[int, int]:
        """The first and the last step of a stage, counted from 1, in a run of so many steps."""
        ends = [0, *self._ends, steps]
        return ends[stage - 1] + 1, ends[stage]
