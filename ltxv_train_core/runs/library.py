"""The runs of an output folder."""

import shutil
from dataclasses import dataclass, replace
from pathlib import Path

from ..errors import LTXVTrainError
from ..files import put_in_place
from .folder import STATE_FILE, RunFolder
from .state import Cause, RunState
from .writer import RunWriter, is_held

CRASHED = Cause(
    "crashed",
    "the program that trained it ended without a word (it crashed, was killed, or the power went)",
    "Queue it again: it goes on from where it was last saved",
)


class RunNotFoundError(LTXVTrainError):
    """There is no run of that name."""


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


class RunLibrary:
    """Runs by name. A name is looked up among the runs there are, never joined to a path."""

    def __init__(self, folder: Path):
        self.folder = folder

    def runs(self) -> list[RunFolder]:
        """All runs, the ones that changed last first."""
        if not self.folder.is_dir():
            return []
        found = []
        for path in self.folder.iterdir():
            state = path / STATE_FILE
            if not path.name.startswith(".") and state.is_file():
                found.append((state.stat().st_mtime_ns, path.name, RunFolder(path)))
        return [run for *_, run in sorted(found, key=lambda each: each[:2], reverse=True)]

    def find(self, name: str) -> RunFolder:
        """Raises `RunNotFoundError` where there is none."""
        for run in self.runs():
            if run.name == name:
                return run
        raise RunNotFoundError(f"no run is named {name!r}")

    def summaries(self) -> list[RunSummary]:
        """All runs that can be read, the ones that changed last first."""
        return [
            RunSummary(run.name, state, max(run.last_step(), state.step))
            for run in self.runs()
            if (state := current_state(run)) is not None
        ]

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


def current_state(run: RunFolder) -> RunState | None:
    """What is true of a run now; None where `run.json` is missing or damaged."""
    state = run.written_state()
    if state is None or state.status not in ("queued", "running") or is_held(run):
        return state
    if state.status == "queued":
        return replace(state, status="stopped", ended=state.updated)
    return replace(state, status="failed", cause=CRASHED, ended=state.updated)
