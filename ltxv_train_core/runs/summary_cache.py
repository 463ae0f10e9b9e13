"""Caches summaries of runs for as long as their files stay the same.

Lists of runs are requested often. The status of a file (times, size) shows whether it was written
since; only then it is read. What may change without a file is looked at each time: whether somebody
still holds the lock of a run that trains.
"""

import json
import os
import stat
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from operator import attrgetter
from pathlib import Path
from typing import NamedTuple, TypeAlias

from ..errors import cut
from ..storage.faults import DiskError
from .folder import STATE_FILE, RunFolder, states_written
from .own_files import may_be_run
from .state import ACTIVE, Failure, RunState
from .writer import is_held

CRASHED = Failure(
    "crashed",
    "the program that trained it ended without a report (a crash, a kill, or a power failure)",
    "Queue it again: it resumes from where it was last saved",
)

Stamp: TypeAlias = tuple[int, int, int, int]
"""Times, size and number of a file: another one for other content."""

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


@dataclass(frozen=True, slots=True)
class _Known:
    """What is remembered of a run.

    Attributes:
        state_file: the path as text, which the system takes much sooner than a `Path`.
        changed_ns: when `run.json` was written.
        stamp: of `run.json`; None where it may be written again without another one.
        written: what `run.json` says; where it is damaged, that.
        metrics_file: empty where `run.json` alone tells all.
        metrics_stamp: as `stamp`, of the metrics.
        summary: None until it is looked at.
        rests: nobody trains it, so that it stays what it is as long as its files do.
    """

    name: str
    run: RunFolder
    state_file: str
    changed_ns: int
    stamp: Stamp | None
    written: RunState
    metrics_file: str = ""
    metrics_stamp: Stamp | None = None
    summary: RunSummary | None = None
    rests: bool = False


class _List(NamedTuple):
    """What was listed, when all were looked at, and how often this process had written states.

    Attributes:
        known: of which runs `found` is made.
    """

    looked_ns: int
    writes: int
    names: list[str]
    known: dict[str, _Known]
    found: list[RunSummary]
    active: list[_Known]


class SummaryCache:
    """The summaries of the runs in a folder. Thread-safe: what is remembered is replaced as a whole."""

    def __init__(self, folder: Path, trust_seconds: float = 0.0) -> None:
        """
        Args:
            trust_seconds: for so long after a look, a run that rests is taken to be as it was,
                unless this process writes states. One that trains is looked at each time.
        """
        self._folder, self._trust_ns = str(folder), int(trust_seconds * 1e9)
        self._known: dict[str, _Known] = {}
        self._last = _List(0, 0, [], {}, [], [])

    def summaries(self, entries: Sequence[os.DirEntry[str]]) -> list[RunSummary]:
        """Those of the runs in the folder, the ones that changed last first.

        Args:
            entries: what is in the folder.

        Returns:
            The same list as before, where nothing is known to have changed.
        """
        now_ns, writes, last = time.time_ns(), states_written(), self._last
        names = [each.name for each in entries]
        trusts = writes == last.writes and 0 <= now_ns - last.looked_ns < self._trust_ns
        is_same = trusts and names == last.names
        if is_same and all(self._look(each.name, each, now_ns) is each for each in last.active):
            return last.found
        before, after = self._known, {}
        for entry, name in zip(entries, names, strict=True):
            known = before.get(name)
            if known is not None and known.rests and (trusts or _is_same(entry, known)):
                after[name] = known
            elif may_be_run(entry) and (now := self._look(name, known, now_ns)):
                after[name] = now
        self._known = after
        found, active = last.found, last.active
        if after != last.known:
            known_now = sorted(after.values(), key=attrgetter("changed_ns", "name"), reverse=True)
            found = [each.summary for each in known_now if each.summary is not None]
            active = [each for each in known_now if not each.rests]
        looked_ns = last.looked_ns if trusts else now_ns
        self._last = _List(looked_ns, writes, names, after, found, active)
        return found

    def summary(self, name: str) -> RunSummary | None:
        """That of one as it is now; None where there is none."""
        known = self._look(name, self._known.get(name), time.time_ns())
        if known is None:
            return None
        self._known = {**self._known, name: known}
        return known.summary

    def _look(self, name: str, known: _Known | None, now_ns: int) -> _Known | None:
        path = f"{self._folder}{os.sep}{name}{os.sep}{STATE_FILE}"
        try:
            status = os.lstat(path)
        except OSError:
            return None
        if known is None or _stamp(status) != known.stamp:
            if not stat.S_ISREG(status.st_mode):
                return None
            known = _read(Path(self._folder, name), path, _stamp(status), now_ns)
        return _looked_at(known, now_ns) if known.metrics_file else known


def true_state(run: RunFolder, written: RunState) -> RunState:
    """The state of a run now: `run.json` may say "running" of a program that crashed."""
    if written.status not in ACTIVE or is_held(run):
        return written
    if written.status == "queued":
        return replace(written, status="stopped", ended=written.updated)
    return replace(written, status="failed", cause=CRASHED, ended=written.updated)


def _is_same(entry: os.DirEntry[str], known: _Known) -> bool:
    """Whether a run that rests is as it was, told with as little work as can be."""
    try:
        return (
            entry.is_dir(follow_symlinks=False)
            and _stamp(os.lstat(known.state_file)) == known.stamp
            and (
                not known.metrics_file
                or _stamp(os.lstat(known.metrics_file)) == known.metrics_stamp
            )
        )
    except OSError:
        return False


def _read(folder: Path, state_file: str, stamp: Stamp, now_ns: int) -> _Known:
    run = RunFolder(folder)
    is_damaged = False
    try:
        written = run.read_state()
    except DiskError:
        raise
    except (OSError, ValueError) as error:
        is_damaged, reason = True, cut(getattr(error, "strerror", None) or str(error))
        written = RunState.damaged(reason, run.last_step(), stamp[0])
    seen = stamp if _is_settled(stamp, now_ns) else None
    known = _Known(run.name, run, state_file, stamp[0], seen, written)
    if is_damaged or written.status == "finished":
        return replace(known, summary=RunSummary(run.name, written, written.step), rests=True)
    return replace(known, metrics_file=str(run.metrics_file))


def _looked_at(known: _Known, now_ns: int) -> _Known:
    """Adds what `run.json` doesn't hold: whether a writer trains the run, and its last step."""
    before = known.summary
    # Who takes the lock of a run that rests writes its run.json.
    state = before.state if before and known.rests else true_state(known.run, known.written)
    try:
        stamp = _stamp(os.lstat(known.metrics_file))
    except OSError:
        stamp = _NO_FILE
    if before and state is before.state and stamp == known.metrics_stamp:
        return known
    step = max(known.run.last_step(), state.step)
    if not (before and (state, step) == (before.state, before.step)):  # which has its JSON
        before = RunSummary(known.run.name, state, step)
    seen = stamp if _is_settled(stamp, now_ns) else None
    rests = state.status not in ACTIVE
    return replace(known, metrics_stamp=seen, summary=before, rests=rests)


def _stamp(status: os.stat_result) -> Stamp:
    return status.st_mtime_ns, status.st_size, status.st_ctime_ns, status.st_ino


def _is_settled(stamp: Stamp, now_ns: int) -> bool:
    """Whether a file is so old that the next writing leaves another time.

    Times in whole seconds come from disks that count no finer (FAT counts two seconds).
    """
    written_ns = stamp[0]
    tick_ns = _FINE_TICK_NS if written_ns % 1_000_000_000 else _COARSE_TICK_NS
    return abs(now_ns - written_ns) > tick_ns
