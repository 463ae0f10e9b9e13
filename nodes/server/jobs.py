"""The runs of this ComfyUI: one job manager for the process, one library for the output folder.

The manager is imported when it is first needed: it imports the trainer.
"""

import threading
from functools import cache, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from server import PromptServer

from ...ltxv_train_core.events import Event, RunDeleted, RunMoved
from ...ltxv_train_core.runs import RunFolder, RunLibrary, RunState
from ..comfy.folders import publish, runs_folder
from .broadcast import Place, announce

if TYPE_CHECKING:
    from ...ltxv_train_core.jobs import JobManager

_shown_at: dict[str, Place] = {}
"""The node that shows a run, by the run's name."""


_first_call = threading.Lock()
"""While the first call imports the trainer, requests of browsers and the executing thread call
too."""


def job_manager() -> "JobManager":
    """Tells browsers of every run, copies its LoRAs to where loaders list them, and pauses all when
    ComfyUI ends."""
    with _first_call:
        return _job_manager()


@cache
def _job_manager() -> "JobManager":
    from ...ltxv_train_core.jobs import JobManager

    manager = JobManager()
    manager.subscribe(_follow)
    manager.pause_at_exit()
    return manager


def run_library() -> RunLibrary:
    return _library(runs_folder())


@lru_cache(maxsize=2)
def _library(folder: Path) -> RunLibrary:
    """Kept, for what it remembers."""
    return RunLibrary(folder, trust_seconds=0.25)


def show_at(run: str, place: Place) -> None:
    """Events of a run name this node from now on."""
    _shown_at[run] = place


def place_of(run: str) -> Place | None:
    """The node that shows a run."""
    return _shown_at.get(run)


def tell(run: str, state: RunState) -> None:
    """Tells browsers how a run was found."""
    announce(RunMoved(run, state.status, state.step, state.steps), _shown_at.get(run), run)


def tell_deleted(run: str) -> None:
    """Tells browsers that a run is gone."""
    announce(RunDeleted(run), _shown_at.pop(run, None), run)


def ask_for_room() -> None:
    """Asks ComfyUI to unload its models as soon as no prompt runs. From any thread."""
    PromptServer.instance.prompt_queue.set_flag("unload_models", True)


def publish_loras(run: RunFolder, step: int) -> str | None:
    """Copies a run's LoRAs of a step to where loaders list them.

    Returns:
        The name for a loader, None where there is no LoRA of that step.
    """
    names = [publish(lora.path) for lora in run.loras() if lora.step == step]
    return names[0] if names else None


def _follow(name: str, event: Event) -> None:
    try:
        if isinstance(event, RunMoved) and event.status not in ("queued", "running"):
            job = job_manager().find(name)
            if job is not None:
                publish_loras(job.run, event.step)
    finally:
        announce(event, _shown_at.get(name), name)
