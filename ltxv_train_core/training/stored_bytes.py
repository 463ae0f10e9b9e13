"""What a run writes to its disk, from sizes alone."""

from dataclasses import dataclass

from ..config import TrainingConfig
from .memory_estimate import (
    AVERAGE_BYTES,
    FLOAT32_BYTES,
    HALF_BYTES,
    state_bytes,
    weight_bytes,
)
from .transformer_sizes import TransformerSizes


@dataclass(frozen=True)
class StoredBytes:
    """In bytes; samples come on top, some megabytes each.

    Attributes:
        file: a LoRA or transformer file, with its average and other forms beside it.
        checkpoint: what a run resumes from.
        files, checkpoints: how many of each are there at most.
    """

    file: int
    checkpoint: int
    files: int
    checkpoints: int

    @property
    def total(self) -> int:
        return self.files * self.file + self.checkpoints * self.checkpoint


def stored_bytes(config: TrainingConfig, sizes: TransformerSizes) -> StoredBytes:
    """What a run writes at most.

    Raises:
        ConfigurationError: a target module of the LoRA matches no layer.
    """
    options, saves = config.optimization, config.checkpoints
    is_full = config.model.training_mode == "full"
    numbers = sizes.numbers if is_full else sizes.lora_numbers(config.lora)
    is_half = is_full or saves.lora_dtype == "bf16"
    one = numbers * (HALF_BYTES if is_half else FLOAT32_BYTES)
    with_average = 1 if options.ema_decay is None else 2
    forms = 1 if is_full else 1 + len(saves.other_forms)
    state = weight_bytes(config) + state_bytes(config)
    state += 0 if options.ema_decay is None else AVERAGE_BYTES
    count = 1 if saves.interval is None else -(-options.steps // saves.interval)
    kept = count if saves.keep_last_n < 0 else min(count, max(1, saves.keep_last_n))
    # While one is written, the one that gives way is still there; so is a recovery point.
    return StoredBytes(one * with_average * forms, numbers * state, count, kept + 1)
