"""Runs long work of a node in a thread of its own, while the executing thread shows its progress.

Nodes execute under `torch.inference_mode`; a new thread does not, so the work may train. The
interrupt and the progress bar belong to the executing thread: both raise ComfyUI's interrupt in
whichever thread asks.
"""

import gc
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, TypeVar

import comfy.model_management

from ...ltxv_train_core.background import Job
from ...ltxv_train_core.errors import Cancelled, LTXVTrainError
from ...ltxv_train_core.events import Event, EventQueue, Reporter, StopSignal
from ...ltxv_train_core.permissions import NotAllowedError
from ..comfy.device import use_comfyui_device
from ..server.broadcast import NodeLocation, broadcast_event
from ..server.jobs import job_manager
from .progress import NodeProgress

if TYPE_CHECKING:
    from ...ltxv_train_core.jobs import RunJob
    from ...ltxv_train_core.training.trainer import TrainingResult

_POLL_SECONDS = 0.05

Result = TypeVar("Result")


def unload_models() -> None:
    """Unloads ComfyUI's models from the accelerator's memory."""
    comfy.model_management.unload_all_models()
    return_memory()


def return_memory() -> None:
    """Returns memory that nothing uses to the device."""
    gc.collect()
    comfy.model_management.soft_empty_cache()


def run_job(target: Callable[[Reporter, StopSignal], Result], progress: NodeProgress) -> Result:
    """Runs `target` in its own thread and shows what it reports at the node.

    When the user interrupts the prompt, the work is asked to stop and gets the time to save what it
    has; then the interrupt is raised again for ComfyUI. Why it failed stays to be read at the node.

    Raises:
        Exception: whatever the work raised.
        comfy.model_management.InterruptProcessingException: after the work has stopped.
    """
    use_comfyui_device()
    job = Job(target)
    job.start()
    try:
        while not job.wait(_POLL_SECONDS):
            comfy.model_management.throw_exception_if_processing_interrupted()
            progress.show(_broadcast(job.drain(), progress))
    except BaseException:
        job.cancel()
        progress.show_text("Cancelling: the work stops at the next place where nothing is lost.")
        while not job.wait(_POLL_SECONDS):
            pass
        progress.record(_broadcast(job.drain(), progress))
        progress.show_text("Cancelled. Run continues with what is done.")
        raise
    finally:
        return_memory()
    progress.show(_broadcast(job.drain(), progress))
    try:
        result = job.result()
    except NotAllowedError:  # the question is shown at the node
        raise
    except LTXVTrainError as error:
        progress.show_text(str(error))
        raise
    progress.end()
    return result


def _broadcast(events: list[Event], progress: NodeProgress) -> list[Event]:
    """Sends events of work that is no run; those of a run reach browsers as `JobManager` says."""
    for event in events:
        broadcast_event(event, NodeLocation(progress.node_id))
    return events


def _kept(job: "RunJob") -> str:
    """What a cancelled run leaves."""
    state = job.plan.run.written_state()
    if state is None or state.step == 0 or state.status == "failed":
        return "Cancelled before the first checkpoint. Run begins the training again."
    return f"Cancelled: the checkpoint of step {state.step} is kept, and Run resumes from it."


def follow_run(job: "RunJob", progress: NodeProgress, stops_it: bool) -> "TrainingResult":
    """Shows a run at the node until it has ended. A paused run is waited for.

    Args:
        stops_it: an interrupt of the prompt stops the run, and waits until its checkpoint is
            written. Otherwise it only ends the waiting.

    Raises:
        LTXVTrainError: the run failed.
        comfy.model_management.InterruptProcessingException: the prompt was interrupted, or the run
            was stopped by somebody else: what needs its result must not run.
    """
    events = EventQueue()
    stop_listening = job.listeners.add(events)
    try:
        while not job.wait(_POLL_SECONDS):
            comfy.model_management.throw_exception_if_processing_interrupted()
            progress.show(events.drain())
        progress.show(events.drain())
    except BaseException:
        if stops_it:
            job_manager().stop_if_active(job.name)
            progress.show_text("Cancelling: a checkpoint is written after this step.")
            while not job.wait(_POLL_SECONDS):
                pass
            progress.show_text(_kept(job))
        progress.record(events.drain())
        raise
    finally:
        stop_listening()
        return_memory()
    with suppress(Cancelled):
        result = job.result()
        if result.finished:
            return result
    raise comfy.model_management.InterruptProcessingException()
