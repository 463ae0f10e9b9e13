"""The runs of an output folder."""

import os
import shutil
import stat
from contextlib import suppress
from pathlib import Path

from ..errors import LTXVTrainError, shown
from ..storage.atomic import put_in_place
from .folder import STATE_FILE, RunFolder
from .own_files import is_link, may_be_run
from .state import RunState
from .summary_cache import RunSummary, SummaryCache, true_state
from .writer import RunWriter


class RunNotFoundError(LTXVTrainError):
    """There is no run of that name."""


class RunLibrary:
    """Runs by name. A name is looked up among the runs there are, never joined to a path.

    A run is a folder with a regular `run.json`, not a link to one. Thread-safe.
    """

    def __init__(self, folder: Path, looks_at: int | None = None):
        """
        Args:
            looks_at: at how many resting runs a list looks while the folder is unchanged, see
                `SummaryCache`; None: at all.
        """
        self.folder = folder
        self._cache = SummaryCache(folder, looks_at)

    def runs(self) -> list[RunFolder]:
        """All runs, the ones that changed last first."""
        found = [
            (status.st_mtime_ns, name)
            for name in self._names()
            if (status := self._status(name)) is not None
        ]
        return [RunFolder(self.folder / name) for _, name in sorted(found, reverse=True)]

    def find(self, name: str) -> RunFolder:
        """Raises `RunNotFoundError` where there is none."""
        known = self.folder / name if self._cache.knows(name) else None
        if known is not None and not is_link(known) and self._status(name):
            return RunFolder(known)
        with suppress(FileNotFoundError, NotADirectoryError), os.scandir(self.folder) as found:
            if any(each.name == name and may_be_run(each) for each in found) and self._status(name):
                return RunFolder(self.folder / name)
        raise RunNotFoundError(f"no run is named {shown(name)}")

    def summaries(self) -> list[RunSummary]:
        """All runs, the ones that changed last first; one whose state is damaged has failed for that."""
        return self._cache.summaries()

    def summary(self, run: RunFolder) -> RunSummary:
        """What a run is like now.

        Raises:
            RunNotFoundError: it was deleted.
        """
        if (summary := self._cache.summary(run.name)) is None:
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

    def _names(self) -> list[str]:
        """The folders that may be runs."""
        with suppress(FileNotFoundError, NotADirectoryError), os.scandir(self.folder) as found:
            return [each.name for each in found if may_be_run(each)]
        return []

    def _status(self, name: str) -> os.stat_result | None:
        """The status of a run's `run.json`, where it is a regular file."""
        try:
            status = (self.folder / name / STATE_FILE).lstat()
        except OSError:
            return None
        return status if stat.S_ISREG(status.st_mode) else None


def current_state(run: RunFolder) -> RunState | None:
    """What is true of a run now; None where `run.json` is missing or damaged."""
    written = run.written_state()
    return None if written is None else true_state(run, written)
