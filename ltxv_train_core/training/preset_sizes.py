"""What a LoRA on the layers of each preset takes, for whoever chooses among them."""

from dataclasses import dataclass

from ..families.open import describe_model
from .memory_estimate import (
    ADAMW_BYTES,
    FLOAT32_BYTES,
    GRADIENT_BYTES,
    HALF_COPY_BYTES,
)
from .transformer_sizes import transformer_sizes


@dataclass(frozen=True)
class PresetSize:
    """A preset of `lora.target_modules` for one model and rank.

    Attributes:
        parameters: how many are trained.
        file_bytes: of a LoRA file in float32.
        training_bytes: weights, gradients, AdamW's state and copies in half precision.
    """

    preset: str
    parameters: int
    file_bytes: int
    training_bytes: int


def preset_sizes(model_source: str, rank: int) -> list[PresetSize]:
    """The presets that a model has layers for. No weights are read.

    Raises:
        ModelError: there is no such model, or its sizes aren't known before it is downloaded.
        NotAllowedError: it may not be read.
    """
    each = FLOAT32_BYTES + GRADIENT_BYTES + ADAMW_BYTES + HALF_COPY_BYTES
    numbers = transformer_sizes(describe_model(model_source)).preset_numbers(rank)
    return [
        PresetSize(preset, count, FLOAT32_BYTES * count, each * count)
        for preset, count in numbers.items()
    ]
