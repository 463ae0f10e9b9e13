"""The runs of this ComfyUI: one job manager for the process, one library for the output folder.

The manager is imported when it is first needed: it imports the trainer.
"""

from functools import cache
from typing import TYPE_CHECKING

from ..ltxv_train_core.runs import RunLibrary
from .folders import runs_folder

if TYPE_CHECKING:
    from ..ltxv_train_core.jobs import JobManager


@cache
def job_manager() -> "JobManager":
    from ..ltxv_train_core.jobs import JobManager

    return JobManager()


def run_library() -> RunLibrary:
    return RunLibrary(runs_folder())
