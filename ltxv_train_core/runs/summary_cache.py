"""Caches summaries of runs for as long as their files stay the same.

Lists of runs are requested often. The status of a file (times, size) shows whether it was written
since; only then it is read. What may change without a file is looked at each time: whether somebody
still holds the lock of a run that trains.
"""

import json
import math
import os
import stat
import time
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from operator import attrgetter
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

from ..errors import cut
from ..storage.faults import DiskError
from .folder import STATE_FILE, RunFolder, states_written
from .label import NO_LABEL, Label
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
        loss: of that step, where it is known and finite.
        model, data_set: as its configuration names them, where that can be read.
        label: what a person calls it.
    """

    name: str
    state: RunState
    step: int
    loss: float | None = None
    model: str | None = None
    data_set: str | None = None
    label: Label = NO_LABEL

    def to_json(self) -> dict[str, Any]:
        """`name` and all of the state, with this `step`, and what else is known here."""
        sources = {"model": self.model, "data_set": self.data_set}
        own = {"step": self.step, "loss": self.loss, **sources, **asdict(self.label)}
        return {"name": self.name, **self.state.to_json(), **own}

    @cached_property
    def open_json(self) -> bytes:
        """The same as a JSON object without its closing brace."""
        return json.dumps(self.to_json(), allow_nan=False).encode("ascii")[:-1]


@dataclass(frozen=True, slots=True)
class _Known:
    """What is remembered of a run.

    Attributes:
        state_file: the path as text, which the system takes much sooner than a `Path`.
        changed_ns: when `run.json` was written.
        stamp: of `run.json`; None where it may be written again without another one.
        written: what `run.json` says; where it is damaged, that.
        model, data_set: what the configuration said when `run.json` was read.
        label: as it was then.
        metrics_file: empty where `run.json` alone holds all.
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
    model: str | None
    data_set: str | None
    label: Label
    metrics_file: str = ""
    metrics_stamp: Stamp | None = None
    summary: RunSummary | None = None
    rests: bool = False


class _List(NamedTuple):
    """What was listed, when all runs were looked at.

    Attributes:
        stamp: of the folder; None where it may change without another one.
        writes: how often this process had written states.
        known: of which runs `found` is made.
        active, resting: those that somebody trains, and the others.
    """

    stamp: Stamp | None
    writes: int
    known: dict[str, _Known]
    found: list[RunSummary]
    active: list[_Known]
    resting: list[_Known]


_NO_LIST = _List(None, 0, {}, [], [], [])


class SummaryCache:
    """The summaries of the runs in a folder. Thread-safe: what is remembered is replaced as a whole.

    Whoever writes the state of a run marks the folder (`RunFolder.write_state`), and runs that come or go
    change it. While it is unchanged, a list looks at the runs that somebody trains and, in turn, at some
    of those that rest: what an editor or an earlier version of this program changes is seen after some lists.
    """

    def __init__(self, folder: Path, looks_at: int | None = None) -> None:
        """
        Args:
            looks_at: at how many resting runs a list looks while the folder is unchanged; None: at all.
        """
        self._folder, self._looks_at = str(folder), looks_at
        self._known: dict[str, _Known] = {}
        self._last = _NO_LIST
        self._turn = 0

    def knows(self, name: str) -> bool:
        """Whether a run of that name was seen in the folder."""
        return name in self._known

    def summaries(self) -> list[RunSummary]:
        """Those of the runs in the folder, the ones that changed last first.

        Returns:
            The same list as before, where nothing is known to have changed.
        """
        now_ns, writes, last = time.time_ns(), states_written(), self._last
        try:
            stamp = _stamp(Path(self._folder).stat())
        except OSError:
            return []
        if self._looks_at is None or stamp != last.stamp or writes != last.writes:
            after = self._look_at_all(now_ns)
            self._last = self._listed(after, stamp if _is_settled(stamp, now_ns) else None, writes)
            return self._last.found
        resting = [each for each in self._next_resting(last.resting) if not _is_same(each)]
        changed = {
            each.name: now
            for each in (*last.active, *resting)
            if (now := self._look(each.name, each, now_ns)) is not each
        }
        if changed:
            gone = {name for name, now in changed.items() if now is None}
            after = last.known | {name: now for name, now in changed.items() if now is not None}
            after = {name: known for name, known in after.items() if name not in gone}
            self._last = self._listed(after, stamp, writes)
        return self._last.found

    def _look_at_all(self, now_ns: int) -> dict[str, _Known]:
        after = {}
        for entry in _entries(self._folder):
            known = self._known.get(entry.name)
            if known is not None and known.rests and _is_dir(entry) and _is_same(known):
                after[entry.name] = known
            elif may_be_run(entry) and (now := self._look(entry.name, known, now_ns)):
                after[entry.name] = now
        return after

    def _listed(self, known: dict[str, _Known], stamp: Stamp | None, writes: int) -> _List:
        """The list of what is known now: the same one, where that is what was known before."""
        if known == self._last.known:
            self._known = known
            return self._last._replace(stamp=stamp, writes=writes)
        ordered = sorted(known.values(), key=attrgetter("changed_ns", "name"), reverse=True)
        self._known = known = {each.name: each for each in ordered}  # soon sorted the next time
        return _List(
            stamp,
            writes,
            known,
            found=[each.summary for each in ordered if each.summary is not None],
            active=[each for each in ordered if not each.rests],
            resting=[each for each in ordered if each.rests],
        )

    def _next_resting(self, resting: list[_Known]) -> list[_Known]:
        """Those whose turn it is."""
        if not resting:
            return []
        start, count = self._turn % len(resting), self._looks_at or 0
        self._turn = start + count
        return resting[start : start + count]

    def summary(self, name: str) -> RunSummary | None:
        """That of one as it is now; None where there is none."""
        before = self._known.get(name)
        known = self._look(name, before, time.time_ns())
        if known is None:
            return None
        if known is not before:
            self._known = {**self._known, name: known}
            self._last = self._last._replace(stamp=None)  # the next list looks at all
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


def _entries(folder: str) -> list[os.DirEntry[str]]:
    with suppress(FileNotFoundError, NotADirectoryError), os.scandir(folder) as found:
        return list(found)
    return []


def true_state(run: RunFolder, written: RunState) -> RunState:
    """The state of a run now: `run.json` may say "running" of a program that crashed."""
    if written.status not in ACTIVE or is_held(run):
        return written
    if written.status == "queued":
        return replace(written, status="stopped", ended=written.updated)
    return replace(written, status="failed", cause=CRASHED, ended=written.updated)


def _summary(known: _Known, state: RunState) -> RunSummary:
    newest = known.run.newest_metrics()
    loss = newest.loss if newest and math.isfinite(newest.loss) else None
    made = newest.step if newest and known.metrics_file else 0
    step = max(made, state.step)
    return RunSummary(known.name, state, step, loss, known.model, known.data_set, known.label)


def _is_dir(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir(follow_symlinks=False)
    except OSError:
        return False


def _is_same(known: _Known) -> bool:
    """Whether a run that rests is as it was, found with as little work as possible: who takes the lock of a
    run that rests writes its run.json."""
    try:
        is_written = _stamp(os.lstat(known.state_file)) != known.stamp
    except OSError:
        return False
    return not is_written and (not known.metrics_file or known.metrics_stamp is not None)


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
    model, data_set = run.sources()
    known = _Known(run.name, run, state_file, stamp[0], seen, written, model, data_set, run.label())
    if is_damaged or written.status == "finished":
        return replace(known, summary=_summary(known, written), rests=True)
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
    summary = _summary(known, state)
    if summary != before:  # which has its JSON
        before = summary
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
