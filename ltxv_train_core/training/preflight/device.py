"""What the device of this machine can't follow. It is asked through torch, whose import takes longer than all the
rest of a check: a check asks it only of options that depend on it."""

import os

from ...config import TrainingConfig
from ...errors import ConfigurationError
from ...models.device import VARIABLE, default_device


def depends_on_device(config: TrainingConfig) -> bool:
    """Whether another device could follow what this one can't, or the user names one."""
    acceleration = config.acceleration
    return bool(
        config.optimization.optimizer_type != "adamw"
        or acceleration.quantization
        or acceleration.quantized_matmul
        or acceleration.load_text_encoder_in_8bit
        or os.environ.get(VARIABLE)
    )


def unavailable(config: TrainingConfig) -> list[str]:
    """Options that it can't follow, or why nothing can be computed on it."""
    from ..capabilities import unavailable_here

    try:
        return unavailable_here(config, default_device())
    except ConfigurationError as error:
        return error.problems
