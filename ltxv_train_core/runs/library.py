"""The runs of an output folder."""

import os
import shutil
import stat
import time
from collections.abc import Iterator
from pathlib import Path

from ..errors import LTXVTrainError, shown
from ..files import put_in_place
from .folder import STATE_FILE, RunFolder
from .own_files import can_be_shown
from .state import RunState
from .summary_cache import RunSummary, SummaryCache, true_state
from .writer import RunWriter


class RunNotFoundError(LTXVTrainError):
    """There is no run of that name."""


class RunLibrary:
    """Runs by name. A name is looked up among the runs there are, never joined to a path.

    A run is a folder with a regular `run.json`, not a link to one. Thread-safe; one that is kept
    remembers what it has read.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        self._cache = SummaryCache()

    def runs(self) -> list[RunFolder]:
        """All runs, the ones that changed last first."""
        found = [(status.st_mtime_ns, name) for name, status in self._states()]
        return [RunFolder(self.folder / name) for _, name in sorted(found, reverse=True)]

    def find(self, name: str) -> RunFolder:
        """Raises `RunNotFoundError` where there is none."""
        for there in self._names():
            if there == name and _status_of_state(f"{self.folder}{os.sep}{there}") is not None:
                return RunFolder(self.folder / there)
        raise RunNotFoundError(f"no run is named {shown(name)}")

    def summaries(self) -> list[RunSummary]:
        """All runs that can be read, the ones that changed last first."""
        found, names, now_ns = [], set(), time.time_ns()
        for name, status in self._states():
            names.add(name)
            run = self._cache.run(name) or RunFolder(self.folder / name)
            summary = self._cache.summary(run, status, now_ns)
            if summary is not None:
                found.append((status.st_mtime_ns, name, summary))
        self._cache.keep_only(names)
        found.sort(key=lambda each: each[:2], reverse=True)
        return [summary for *_, summary in found]

    def summary(self, run: RunFolder) -> RunSummary:
        """What a run is like now.

        Raises:
            RunNotFoundError: it was deleted, or its state is damaged.
        """
        now_ns = time.time_ns()
        status = _status_of_state(str(run.folder))
        summary = self._cache.summary(run, status, now_ns) if status else None
        if summary is None:
            raise RunNotFoundError(f"run {shown(run.name)} has no state that can be read")
        return summary

    def delete(self, name: str) -> None:
        """Deletes a run with all its files. LoRAs that were copied elsewhere stay.

        Raises:
            RunNotFoundError: there is none.
            RunBusyError: it is being trained, or waits to be.
            LTXVTrainError: a file of it can't be deleted now; all of them are left.
        """
        run = self.find(name)
        # Whatever happens while files go one by one: it is no run any more.
        away = self.folder / f".{name}.deleted"
        with RunWriter(run).acquire(0):
            shutil.rmtree(away, ignore_errors=True)
            try:
                put_in_place(run.folder, away)
            except OSError as error:
                raise LTXVTrainError(
                    f"run {name} can't be deleted ({error.strerror}); close what uses its files, "
                    "such as a player of its samples, and try again"
                ) from error
        shutil.rmtree(away, ignore_errors=True)

    def _states(self) -> Iterator[tuple[str, os.stat_result]]:
        """The name of each run and the status of its `run.json`."""
        folder = f"{self.folder}{os.sep}"
        for name in self._names():
            if (status := _status_of_state(folder + name)) is not None:
                yield name, status

    def _names(self) -> list[str]:
        """The folders that may be runs."""
        try:
            with os.scandir(self.folder) as found:
                return [
                    each.name
                    for each in found
                    if each.is_dir(follow_symlinks=False)
                    and not each.name.startswith(".")
                    and can_be_shown(each.name)
                ]
        except (FileNotFoundError, NotADirectoryError):
            return []


def current_state(run: RunFolder) -> RunState | None:
    """What is true of a run now; None where `run.json` is missing or damaged."""
    return true_state(run, run.written_state())


def _status_of_state(folder: str) -> os.stat_result | None:
    """The status of a run's `run.json`, where it is a regular file."""
    try:
        status = os.lstat(f"{folder}{os.sep}{STATE_FILE}")
    except OSError:
        return None
    return status if stat.S_ISREG(status.st_mode) else None
