"""Trackers log a run to other programs. They get the run's events and nothing else.

Every tracker counts optimizer steps, as `metrics.jsonl` does. One that fails is reported and closed:
it can't cost a step.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

from ..config import TrackersConfig, TrainingConfig
from ..errors import install_command
from ..events import (
    Event,
    Notice,
    PermissionAsked,
    Reporter,
    SamplesWritten,
    StepCompleted,
)
from ..permissions import OWN_ENTITY
from .base import Tracker
from .tensorboard_logs import TensorBoardLogs
from .wandb_run import WandbRun, is_refused

TRACKERS: dict[str, Callable[[TrainingConfig, Path, int], Tracker]] = {
    "tensorboard": TensorBoardLogs,
    "wandb": WandbRun,
}

__all__ = ["TRACKERS", "Tracker", "missing_packages", "tracked", "tracker_remarks"]


def missing_packages(wanted: TrackersConfig) -> list[str]:
    """One line for each tracker that is switched on and not installed."""
    return [
        f"trackers.{name}: the package {name} is not installed; run `{install_command(name)}`, or "
        "switch it off"
        for name in _chosen(wanted)
        if find_spec(name) is None
    ]


def tracker_remarks(wanted: TrackersConfig) -> list[str]:
    """Warnings about logs that this machine's user has not allowed."""
    if not is_refused(wanted):
        return []
    whose = f"of {wanted.entity}" if wanted.entity else "of your own login"
    return [
        f"trackers.wandb: logs to Weights & Biases {whose} were not allowed on this machine: nothing "
        "is sent there. Allow it for runs to come, or with `train --push` on the command line"
    ]


@contextmanager
def tracked(config: TrainingConfig, folder: Path, report: Reporter) -> Iterator[Reporter]:
    """Yields a reporter that also calls the trackers of a run, and closes them at the end.

    Args:
        folder: the run's folder.
    """
    followers = _OpenTrackers(config, folder, report)
    if tracker_remarks(config.trackers):
        report(PermissionAsked("entities", config.trackers.entity or OWN_ENTITY))
    try:
        yield followers
    finally:
        followers.close()


def _chosen(wanted: TrackersConfig) -> list[str]:
    refused = ["wandb"] if is_refused(wanted) else []
    return [n for n in TRACKERS if getattr(wanted, n) and n not in refused]


class _OpenTrackers:
    """Opens the trackers at the first step that is reported: only then its number is known."""

    def __init__(self, config: TrainingConfig, folder: Path, report: Reporter):
        self._config, self._folder, self._report = config, folder, report
        self._open: dict[str, Tracker] = {}
        self._failed: set[str] = set()

    def __call__(self, event: Event) -> None:
        self._report(event)
        if not isinstance(event, StepCompleted | SamplesWritten):
            return
        for name in _chosen(self._config.trackers):
            if name not in self._failed:
                self._guard(name, self._log, name, event)

    def close(self) -> None:
        for name, tracker in self._open.items():
            self._guard(name, tracker.close)

    def _log(self, name: str, event: StepCompleted | SamplesWritten) -> None:
        if name not in self._open:
            self._open[name] = TRACKERS[name](self._config, self._folder, event.step)
        if isinstance(event, StepCompleted):
            self._open[name].step(event)
        elif self._config.trackers.log_validation_videos:
            self._open[name].samples(event)

    def _guard(self, name: str, action: Callable[..., None], *arguments: object) -> None:
        try:
            action(*arguments)
        except Exception as error:
            self._failed.add(name)
            self._report(Notice(f"the run continues without {name}: {error}", is_problem=True))
