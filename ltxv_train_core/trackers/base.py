from pathlib import Path
from typing import Protocol

from ..config import TrainingConfig
from ..events import SamplesWritten, StepCompleted


class Tracker(Protocol):
    """Logs one run. Steps from `first_step` on replace those that were logged before."""

    def __init__(self, config: TrainingConfig, folder: Path, first_step: int): ...

    def step(self, event: StepCompleted) -> None:
        """Logs the scalars of a step."""
        ...

    def samples(self, event: SamplesWritten) -> None:
        """Logs validation samples: videos, or their contact sheet."""
        ...

    def close(self) -> None:
        """Sends what is left and ends the log."""
        ...


def scalars(event: StepCompleted) -> dict[str, float]:
    """The values of a step that are drawn, by name."""
    return {
        **{f"train/{name}": loss for name, loss in event.losses.items()},
        "train/learning_rate": event.learning_rate,
        "train/grad_norm": event.grad_norm,
        "train/step_seconds": event.step_seconds,
    }
