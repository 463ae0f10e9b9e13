"""Remembers what runs are like for as long as their files stay the same.

A list of runs is asked for again and again. Looking at a file's status tells whether it was written
since; only then it is read. What may change without a file is looked at each time: whether somebody
still holds the lock of a run that trains.
"""

import json
import os
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple, TypeAlias

from .folder import RunFolder
from .state import Cause, RunState
from .writer import is_held

CRASHED = Cause(
    "crashed",
    "the program that trained it ended without a word (it crashed, was killed, or the power went)",
    "Queue it again: it goes on from where it was last saved",
)

Stamp: TypeAlias = tuple[int, int, int, int]
"""Size, times and number of a file: another one for other content."""

_NO_FILE: Stamp = (0, 0, 0, 0)
_FINE_TICK_NS, _COARSE_TICK_NS = 20_000_000, 2_000_000_000


@dataclass(frozen=True)
class RunSummary:
    """A run in a list.

    Attributes:
        state: as it is now: a run whose program died has failed, whatever `run.json` says.
        step: the last step that was made.
    """

    name: str
    state: RunState
    step: int

    @cached_property
    def json(self) -> bytes:
        """`name` and all of the state, with this `step`, as a JSON object."""
        value = {"name": self.name, **self.state.to_json(), "step": self.step}
        return json.dumps(value, allow_nan=False).encode("ascii")


class _Known(NamedTuple):
    """What is remembered of a run. A stamp is None where the next look must read again.

    Attributes:
        written: what `run.json` says; None where it is damaged.
    """

    run: RunFolder
    state_stamp: Stamp | None
    written: RunState | None
    metrics_stamp: Stamp | None = None
    summary: RunSummary | None = None


class SummaryCache:
    """The summaries of the runs of one folder. Thread-safe: an entry is only replaced as a whole."""

    def __init__(self) -> None:
        self._known: dict[str, _Known] = {}

    def summary(self, run: RunFolder, status: os.stat_result, now_ns: int) -> RunSummary | None:
        """What a run is like now; None where its state is damaged.

        Args:
            status: of its `run.json`, taken after `now_ns`.
        """
        stamp = _stamp(status, now_ns)
        known = self._known.get(run.name)
        if known is None or stamp is None or stamp != known.state_stamp:
            known = _Known(run, stamp, run.written_state())
        elif known.written is None or known.written.status == "finished":
            return known.summary
        known = _looked_at(known, now_ns)
        self._known[run.name] = known
        return known.summary

    def run(self, name: str) -> RunFolder | None:
        """The folder of a remembered run: making a path takes longer than looking it up."""
        known = self._known.get(name)
        return known.run if known else None

    def keep_only(self, names: set[str]) -> None:
        """Forgets the runs that are gone."""
        for name in self._known.keys() - names:
            self._known.pop(name, None)


def true_state(run: RunFolder, written: RunState | None) -> RunState | None:
    """What is true of a run now, from what `run.json` says."""
    if written is None or written.status not in ("queued", "running") or is_held(run):
        return written
    if written.status == "queued":
        return replace(written, status="stopped", ended=written.updated)
    return replace(written, status="failed", cause=CRASHED, ended=written.updated)


def _looked_at(known: _Known, now_ns: int) -> _Known:
    """The same with what `run.json` doesn't tell: whether it is trained, and how far it is."""
    before = known.summary
    # Who takes the lock of a run that rests writes its `run.json`.
    rests = before is not None and before.state.status not in ("queued", "running")
    state = before.state if before and rests else true_state(known.run, known.written)
    if state is None:
        return known
    stamp = _stamp_of_metrics(known.run, now_ns)
    if before and state is before.state and stamp is not None and stamp == known.metrics_stamp:
        return known
    step = max(known.run.last_step(), state.step)
    summary = RunSummary(known.run.name, state, step)
    if summary == before:
        summary = before  # which has its JSON
    return known._replace(metrics_stamp=stamp, summary=summary)


def _stamp_of_metrics(run: RunFolder, now_ns: int) -> Stamp | None:
    try:
        return _stamp(run.metrics_file.lstat(), now_ns)
    except OSError:
        return _NO_FILE


def _stamp(status: os.stat_result, now_ns: int) -> Stamp | None:
    """None for a file that was written just now: the next writing may leave the same times.

    Times in whole seconds come from disks that count no finer (FAT counts two seconds).
    """
    written_ns = status.st_mtime_ns
    tick_ns = _FINE_TICK_NS if written_ns % 1_000_000_000 else _COARSE_TICK_NS
    if abs(now_ns - written_ns) <= tick_ns:
        return None
    return status.st_size, written_ns, status.st_ctime_ns, status.st_ino
