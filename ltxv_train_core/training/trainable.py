"""What a run trains, by `model.training_mode`: a LoRA in the frozen base, or the whole model."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol

import torch
from safetensors import SafetensorError, safe_open

from ..config import TrainingConfig
from ..events import Reporter, StopSignal
from ..families.base import Denoiser
from ..families.model import Model
from ..lora.convert import write_other_forms
from ..lora.dropout import DropoutSeed
from ..memory_errors import is_out_of_memory
from ..models.memory.checkpointing import Checkpoint
from ..models.precision import file_dtype
from ..runs.failures import ModelMemoryError
from .trainable_lora import TrainableLoRA
from .trainable_model import TrainableModel


class Trainable(Protocol):
    """The transformer as it is trained.

    Attributes:
        denoiser: with the transformer in training mode on the run's device.
        parameters: those that are trained.
        rates: what the learning rate of each is multiplied with.
        dropout_seed: what dropout draws by, to be set before each forward pass.
        is_compiled: the first step compiles it.
        checkpoint: what lets blocks be computed again.
    """

    is_compiled: bool
    checkpoint: Checkpoint
    denoiser: Denoiser
    parameters: list[torch.nn.Parameter]
    rates: list[float]
    dropout_seed: DropoutSeed

    def write(self, path: Path | None, facts: Mapping[str, str]) -> None:
        """Writes what was trained to a safetensors file that ComfyUI loads, with `facts` in its
        metadata.

        Args:
            path: None where another process writes it, which needs this one's part of the weights.
        """
        ...


def load_trainable(
    config: TrainingConfig,
    source: Model,
    device: torch.device,
    report: Reporter,
    stop: StopSignal | None = None,
) -> Trainable:
    """Loads the base and makes of it what the run trains.

    Args:
        stop: ends the first steps too, while they compile it.

    Raises:
        ModelMemoryError: the memory is not enough for it.
        LTXVTrainError: when the model, the LoRA's layers or the file to start from can't be used.
    """
    try:
        return TRAINABLES[config.model.training_mode](config, source, device, report, stop)
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        raise ModelMemoryError(f"loading the model: {error}") from error


def write_missing_forms(config: TrainingConfig, path: Path) -> None:
    """Writes the forms that are wanted beside a finished LoRA file and aren't there yet."""
    if config.model.training_mode == "lora":
        write_other_forms(path, config.checkpoints.other_forms)


def has_wanted_dtype(config: TrainingConfig, path: Path) -> bool:
    """Whether the numbers of a finished LoRA file have the format that is wanted now."""
    if config.model.training_mode != "lora":
        return True
    try:
        with safe_open(path, "pt") as file:
            names = [name for name in file.keys() if not name.endswith(("alpha", "dora_scale"))]  # noqa: SIM118
            answer: bool = file.get_tensor(names[0]).dtype == file_dtype(
                config.checkpoints.lora_dtype
            )
            return answer
    except (OSError, SafetensorError, IndexError):
        return False


TRAINABLES: dict[str, Callable[..., Trainable]] = {"lora": TrainableLoRA, "full": TrainableModel}
