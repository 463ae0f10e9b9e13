"""A run in a test: trained, perhaps stopped, with what it told."""

import threading

from ltxv_train_core.config import TrainingConfig
from ltxv_train_core.events import Notice, StepCompleted
from ltxv_train_core.training.trainer import TrainingResult, train


def run(
    config: TrainingConfig, stop_after: int | None = None
) -> tuple[TrainingResult, list[float], list[str]]:
    """Trains, to the end or to a step; returns the result, the losses and the notices."""
    stop, events = threading.Event(), []

    def watch(event):
        events.append(event)
        if isinstance(event, StepCompleted) and event.step == stop_after:
            stop.set()

    result = train(config, watch, stop)
    losses = [e.loss for e in events if isinstance(e, StepCompleted)]
    return result, losses, [e.message for e in events if isinstance(e, Notice)]
