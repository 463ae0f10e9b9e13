"""Recovery points: where a run resumes after a kill, however rare its checkpoints are.

They have the form of a checkpoint, without LoRA files, and are none of the user's: one is kept, until
a newer one or a checkpoint is there.
"""

import shutil
import time
from collections.abc import Callable
from pathlib import Path

from ..events import Notice, Reporter
from . import checkpoint
from .checkpoint import TrainingState

FIRST_SECONDS = 60.0
"""From the begin of the loop to the first one."""

LEAST_SECONDS = 600.0
"""From one to the next, and from a checkpoint to the next."""

LEAST_TIMES_ITS_DURATION = 100
"""Writing takes at most one percent of the time."""


class RecoveryPoints:
    """Those of a run; `folder` is theirs."""

    def __init__(self, folder: Path, report: Reporter):
        self.folder, self.report = folder, report
        self._began = time.monotonic()
        self._least = FIRST_SECONDS
        self._duration = 0.0
        self._has_failed = False

    def is_due(self) -> bool:
        pause = max(self._least, LEAST_TIMES_ITS_DURATION * self._duration)
        return time.monotonic() - self._began >= pause

    def write(self, state: Callable[[], TrainingState]) -> None:
        """Writes one in the place of the one before. A failure is reported the first time."""
        started = time.monotonic()
        try:
            checkpoint.keep_newest(checkpoint.save_checkpoint(self.folder, state()), 1, self.report)
        except Exception as error:
            if not self._has_failed:
                self.report(
                    Notice(
                        f"no recovery point can be written: {error}. Training continues, but a kill would "
                        "cost all steps since the last one",
                        is_problem=True,
                    )
                )
            self._has_failed = True
        self._begin_pause()
        self._duration = self._began - started

    def give_way(self) -> None:
        """Removes them, now that a checkpoint has all they had."""
        shutil.rmtree(self.folder, ignore_errors=True)
        self._begin_pause()

    def _begin_pause(self) -> None:
        self._began, self._least = time.monotonic(), LEAST_SECONDS
