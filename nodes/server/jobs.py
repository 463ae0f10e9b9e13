"""The runs of this ComfyUI: one job manager for the process, one library for the output folder.

The manager is imported when it is first needed: it imports the trainer.
"""

import threading
from functools import cache, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from server import PromptServer

from ...ltxv_train_core.events import Event, RunDeleted, RunStatusChanged
from ...ltxv_train_core.runs import RunFolder, RunLibrary, RunState
from ..comfy.device import use_comfyui_device
from ..comfy.folders import publish, runs_folder
from .broadcast import NodeLocation, broadcast_event

if TYPE_CHECKING:
    from ...ltxv_train_core.jobs import JobManager

LOOKED_AT_RESTING = 25
"""Runs for each list: of 500 that rest, each is looked at within 20 requests."""

_shown_at: dict[str, NodeLocation] = {}
"""The node that shows a run, by the run's name."""


_first_call = threading.Lock()
"""Held while the first call imports the trainer: requests of browsers and the executing thread may
call at the same time."""


def job_manager() -> "JobManager":
    """Returns the job manager of this ComfyUI.

    Browsers get the events of its runs, finished LoRAs are copied into ComfyUI's LoRA folder, and all
    runs pause when ComfyUI ends.
    """
    with _first_call:
        return _job_manager()


@cache
def _job_manager() -> "JobManager":
    from ...ltxv_train_core.jobs import JobManager

    use_comfyui_device()
    manager = JobManager()
    manager.subscribe(_follow)
    manager.pause_at_exit()
    return manager


def run_positions() -> dict[str, int | None]:
    """Positions in the queue of the runs that this ComfyUI works on. Where no job was made yet it works on
    none, and the trainer isn't imported to say so."""
    return job_manager().positions() if _job_manager.cache_info().currsize else {}


def run_library() -> RunLibrary:
    """The runs in ComfyUI's output folder."""
    return _library(runs_folder())


@lru_cache(maxsize=2)
def _library(folder: Path) -> RunLibrary:
    """Kept between calls for its cache of summaries."""
    return RunLibrary(folder, looks_at=LOOKED_AT_RESTING)


def show_at(run: str, place: NodeLocation) -> None:
    """Makes a node the one that events of a run name."""
    _shown_at[run] = place


def location_of(run: str) -> NodeLocation | None:
    """The node that shows a run, or None."""
    return _shown_at.get(run)


def report_run_state(run: str, state: RunState) -> None:
    """Sends the state of a run to browsers, where the run itself does not report it."""
    broadcast_event(
        RunStatusChanged(run, state.status, state.step, state.steps), _shown_at.get(run), run
    )


def report_run_deleted(run: str) -> None:
    """Sends browsers that a run was deleted."""
    broadcast_event(RunDeleted(run), _shown_at.pop(run, None), run)


def request_model_unload() -> None:
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
        if isinstance(event, RunStatusChanged) and event.status not in ("queued", "running"):
            job = job_manager().find(name)
            if job is not None:
                publish_loras(job.run, event.step)
    finally:
        broadcast_event(event, _shown_at.get(name), name)
