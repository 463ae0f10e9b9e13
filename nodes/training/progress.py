"""Shows a job at its node: ComfyUI's progress bar, a line of text and a preview."""

import logging
import time

import comfy.utils
from PIL import Image
from server import PromptServer

from ...ltxv_train_core.events import (
    ClipSkipped,
    Event,
    HeldOutMeasured,
    Notice,
    Progress,
    RunStatusChanged,
    SamplesWritten,
    StepCompleted,
)
from ...ltxv_train_core.runs.loss_chart import loss_chart
from ...ltxv_train_core.units import duration
from ..comfy.images import stacked

PREVIEW_INTERVAL_SECONDS = 1.0
PREVIEW_SIZE_PX = 768

logger = logging.getLogger("ltxv_train")


class NodeProgress:
    """Shows the events of one job at one node of the canvas.

    Only the executing thread may use it: ComfyUI's progress bar raises the interrupt there.

    Attributes:
        steps: by number, as far as they were reported.
        sheet: the latest contact sheet of validation samples; its file may be deleted.
        skipped: clips that could not be used.
    """

    def __init__(self, node_id: str):
        self.node_id = node_id
        self.steps: dict[int, StepCompleted] = {}
        self.sheet: Image.Image | None = None
        self.skipped: list[ClipSkipped] = []
        self._steps = 0
        self._phase = ""
        self._bar: comfy.utils.ProgressBar | None = None
        self._preview_due = 0.0

    def load_metrics(self, metrics: list[StepCompleted]) -> None:
        """Takes the steps before those that are reported."""
        self.steps = {each.step: each for each in metrics}

    def record(self, events: list[Event]) -> None:
        """Remembers events without touching the progress bar."""
        for event in events:
            self._remember(event)

    def show(self, events: list[Event]) -> None:
        """Remembers events, and draws the latest state at the node.

        Raises:
            comfy.model_management.InterruptProcessingException: if the prompt was interrupted.
        """
        self.record(events)
        for event in events:
            if isinstance(event, StepCompleted):
                self._move_bar("train", event.step, event.steps)
            elif isinstance(event, Progress):
                self._move_bar(event.phase, event.done, event.total)
        moves = [event for event in events if isinstance(event, RunStatusChanged)]
        steps = [event for event in events if isinstance(event, StepCompleted)]
        latest: list[Event] = [*moves] or [*steps] or events
        if line := next(filter(None, map(_line, reversed(latest))), None):
            self.show_text(line)

    def show_text(self, line: str) -> None:
        """Writes a line of text at the node."""
        server = PromptServer.instance
        server.send_progress_text(line, self.node_id, server.client_id)

    def end(self) -> None:
        """Takes away the line of the last progress, now that the work is done."""
        if self._phase:
            self.show_text("Done.")

    def preview(self) -> Image.Image | None:
        """The loss chart, with the latest contact sheet below it; None before the first step."""
        if not self.steps:
            return None
        metrics = [self.steps[number] for number in sorted(self.steps)]
        chart = loss_chart(metrics, self._steps)
        if self.sheet is None:
            return chart
        return stacked(chart, self.sheet)

    def _remember(self, event: Event) -> None:
        if isinstance(event, StepCompleted):
            self.steps[event.step] = event
            self._steps = event.steps
        elif isinstance(event, SamplesWritten):
            with Image.open(event.sheet) as sheet:
                self.sheet = sheet.convert("RGB")
            self._preview_due = 0.0
        elif isinstance(event, ClipSkipped):
            self.skipped.append(event)
            logger.warning("skipped %s: %s", event.name, event.reason)
        elif isinstance(event, Notice):
            logger.log(logging.WARNING if event.is_problem else logging.INFO, "%s", event.message)

    def _move_bar(self, phase: str, done: int, total: int) -> None:
        if phase != self._phase or self._bar is None:
            self._phase = phase
            self._bar = comfy.utils.ProgressBar(max(total, 1), node_id=self.node_id)
        preview = None
        now = time.monotonic()
        if now >= self._preview_due and (preview_image := self.preview()):
            preview = ("JPEG", preview_image, PREVIEW_SIZE_PX)
            self._preview_due = now + PREVIEW_INTERVAL_SECONDS
        self._bar.update_absolute(done, max(total, 1), preview)


def _line(event: Event) -> str | None:
    """The text that a node shows for an event, or None."""
    if isinstance(event, StepCompleted):
        losses = (f"{name.replace('_', ' ')} {loss:.4f}" for name, loss in event.losses.items())
        return (
            f"step {event.step} of {event.steps}, {', '.join(losses)}, "
            f"{duration(event.eta_seconds)} left"
        )
    if isinstance(event, Progress):
        left = "" if event.eta_seconds is None else f", {duration(event.eta_seconds)} left"
        item = f", {event.item}" if event.item else ""
        return f"{event.phase}: {event.amount}{left}{item}"
    if isinstance(event, ClipSkipped):
        return f"skipped {event.name}: {event.reason}"
    if isinstance(event, Notice):
        return event.message
    if isinstance(event, HeldOutMeasured):
        return event.text
    if isinstance(event, RunStatusChanged) and event.status == "paused":
        return (
            f"paused at step {event.step} of {event.steps}. This node holds ComfyUI's queue until the run "
            "is resumed or stopped; in the mode detached it would not"
        )
    if isinstance(event, RunStatusChanged):
        return f"{event.status} at step {event.step} of {event.steps}" + (
            f": {event.message}" if event.message else ""
        )
    return None
