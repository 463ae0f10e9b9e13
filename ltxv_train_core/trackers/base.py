from pathlib import Path
from typing import Protocol

from ..config import TrainingConfig
from ..events import SamplesWritten, StepCompleted


class Tracker(Protocol):
    """Shows one run. A step that it showed before, of `first_step` and later, isn't shown twice."""

    def __init__(self, config: TrainingConfig, folder: Path, first_step: int): ...

    def step(self, event: StepCompleted) -> None: ...

    def samples(self, event: SamplesWritten) -> None: ...

    def close(self) -> None: ...


def scalars(event: StepCompleted) -> dict[str, float]:
    """What is drawn of a step, by name."""
    return {
        "train/loss": event.loss,
        "train/learning_rate": event.learning_rate,
        "train/grad_norm": event.grad_norm,
        "train/step_seconds": event.step_seconds,
    }
