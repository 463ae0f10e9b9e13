from collections.abc import Mapping
from pathlib import Path

import torch

from ..config import TrainingConfig
from ..events import Notice, Progress, Reporter, StopSignal
from ..families.model import Model
from ..lora.dropout import DropoutSeed
from ..lora.initialize import find_start, load_transformer_file
from ..models.compile import compile_blocks
from ..models.memory.checkpointing import new_checkpoint
from ..models.precision import base_dtype, file_dtype
from ..models.sharded import whole
from ..storage.atomic import atomic_folder
from ..storage.tensors import write_safetensors


class TrainableModel:
    """Every weight of the transformer, in float32 or bfloat16; see `optimization.trained_weights`."""

    def __init__(
        self,
        config: TrainingConfig,
        source: Model,
        device: torch.device,
        report: Reporter,
        stop: StopSignal | None = None,
    ):
        options = config.acceleration
        self.file_dtype = base_dtype(options.mixed_precision_mode)
        self.as_folder = config.checkpoints.write_diffusers
        report(Progress("load model", 0, 1, "model"))
        transformer = source.load_transformer(file_dtype(config.optimization.trained_weights))
        self.denoiser = source.transformer.denoiser(transformer)
        if config.model.load_checkpoint is not None:
            path = find_start(Path(config.model.load_checkpoint), "full")
            load_transformer_file(self.denoiser, path)
            report(Notice(f"starting from {path.name}"))
        transformer.to(device).train().requires_grad_(True)
        on_host = config.optimization.activations_on_host
        self.checkpoint = new_checkpoint(device, on_host, report)
        if config.optimization.enable_gradient_checkpointing:
            transformer.enable_gradient_checkpointing(self.checkpoint)
        self.is_compiled = compile_blocks(
            transformer, options, config.optimization.steps, report, stop=stop
        )
        report(Progress("load model", 1, 1, "model"))
        self.parameters = list(transformer.parameters())
        self.rates = [1.0] * len(self.parameters)
        self.dropout_seed = DropoutSeed()

    def write(self, path: Path | None, facts: Mapping[str, str]) -> None:
        """Writes the transformer in the run's precision, as ComfyUI's loaders for diffusion models
        and for checkpoints read it; with `checkpoints.write_diffusers` a folder
        `<name>-diffusers` beside it, in the diffusers layout with the transformer alone."""
        state = {
            name: whole(value).to("cpu", self.file_dtype)
            for name, value in self.denoiser.transformer.state_dict().items()
        }
        if path is None:
            return
        tensors, described = self.denoiser.as_checkpoint(state)
        write_safetensors(path, tensors, {**facts, **described})
        if self.as_folder:
            with atomic_folder(path.with_name(f"{path.stem}-diffusers")) as folder:
                self.denoiser.write_folder(folder, state)
