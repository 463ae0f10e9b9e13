"""Long work on a terminal: progress bars on standard error, Ctrl-C stops between two steps."""

import sys
from collections.abc import Callable, MutableMapping
from dataclasses import replace
from typing import Any, TypeVar

from tqdm import tqdm

from ..background import Job
from ..events import (
    CheckpointWritten,
    ClipSkipped,
    Event,
    HeldOutMeasured,
    Notice,
    Progress,
    Reporter,
    SamplesWritten,
    StepCompleted,
    StopSignal,
)
from ..units import duration

Result = TypeVar("Result")

_POLL_SECONDS = 0.05


def run(target: Callable[[Reporter, StopSignal], Result]) -> Result:
    """Runs `target` in a job and shows its events. Ctrl-C asks it to stop and waits."""
    job = Job(target).start()
    with TerminalProgress() as progress:
        while True:
            try:
                ended = job.wait(_POLL_SECONDS)
                for event in job.drain():
                    progress.show(event)
                if ended:
                    return job.result()
            except KeyboardInterrupt:
                progress.say("stopping after this step")
                job.cancel()


class _Bar(tqdm):  # type: ignore[type-arg]  # tqdm is generic for type checkers alone
    """A bar that writes durations and bytes as the rest of this program does."""

    def __init__(self, phase: str, done: int, total: int, unit: str):
        self._event = Progress(phase, done, total, unit)
        layout = "{desc}: {percentage:.0f}%|{bar}| {amount} [{spent} spent, {left} left{postfix}]"
        super().__init__(total=total, desc=phase, initial=done, bar_format=layout)

    @property
    def format_dict(self) -> MutableMapping[str, Any]:
        """The facts that the layout names."""
        facts = super().format_dict
        event = replace(self._event, done=int(self.n))
        missing, rate = event.total - event.done, facts["rate"]
        left = duration(missing / (rate or 1)) if rate or not missing else "?"
        spent = duration(facts["elapsed"])
        return {**facts, "amount": event.amount, "spent": spent, "left": left}


class TerminalProgress:
    """One bar for the phase that runs now; lines for everything else."""

    def __init__(self) -> None:
        self._bar: _Bar | None = None
        self._phase = ""

    def __enter__(self) -> "TerminalProgress":
        return self

    def __exit__(self, *_: object) -> None:
        self._close()

    def show(self, event: Event) -> None:
        """Moves the bar, or writes a line."""
        if isinstance(event, Progress):
            bar = self._advance(event.phase, event.done, event.total, event.unit)
            bar.set_postfix_str(event.item, refresh=False)
        elif isinstance(event, StepCompleted):
            bar = self._advance("train", event.step, event.steps, "step")
            losses = {name: f"{loss:.4f}" for name, loss in event.losses.items()}
            bar.set_postfix(losses | {"lr": f"{event.learning_rate:.1e}"})
        elif isinstance(event, ClipSkipped):
            self.say(f"skipped {event.name}: {event.reason}")
        elif isinstance(event, Notice):
            self.say(event.message)
        elif isinstance(event, CheckpointWritten):
            self.say(f"step {event.step}: LoRA written to {event.lora_file}")
        elif isinstance(event, HeldOutMeasured):
            self.say(f"step {event.step}: held-out loss {event.loss:.4f}; {event.text}")
        elif isinstance(event, SamplesWritten):
            self.say(f"step {event.step}: samples written, see {event.sheet}")

    def say(self, message: str) -> None:
        """Writes a line above the bar."""
        tqdm.write(message, file=sys.stderr)

    def _advance(self, phase: str, done: int, total: int, unit: str) -> _Bar:
        if self._bar is None or phase != self._phase or total != self._bar.total:
            self._close()
            self._phase = phase
            self._bar = _Bar(phase, max(0, done - 1), total, unit)
        self._bar.update(done - self._bar.n)
        return self._bar

    def _close(self) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None
