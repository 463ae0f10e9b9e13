"""Training strategies, one per `conditioning.mode`; a new one is a file and a line here."""

from .base import StepInputs, Strategy, StreamStep
from .reference_video import ReferenceVideoStrategy
from .standard import StandardStrategy

STRATEGIES: dict[str, type[Strategy]] = {
    "none": StandardStrategy,
    "reference_video": ReferenceVideoStrategy,
}

__all__ = ["STRATEGIES", "StandardStrategy", "StepInputs", "Strategy", "StreamStep"]
