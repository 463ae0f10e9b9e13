"""Training strategies, one per `conditioning.mode`; a new one is a file and a line here."""

from .base import StepInputs, Strategy, StreamStep
from .references import ReferenceStrategy
from .standard import StandardStrategy

STRATEGIES: dict[str, type[Strategy]] = {
    "none": StandardStrategy,
    "reference_video": ReferenceStrategy,
    "reference_audio": ReferenceStrategy,
    "reference_video_audio": ReferenceStrategy,
}

__all__ = ["STRATEGIES", "StandardStrategy", "StepInputs", "Strategy", "StreamStep"]
