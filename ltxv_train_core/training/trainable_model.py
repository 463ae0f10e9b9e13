from collections.abc import Mapping
from pathlib import Path

import diffusers
import torch
from diffusers import LTXVideoTransformer3DModel
from torch import Tensor

from ..config import TrainingConfig
from ..events import Notice, Progress, Reporter
from ..families.ltxv.checkpoint_export import config_metadata, transformer_tensors
from ..families.ltxv.recompute import make_lean
from ..families.open import ModelSource
from ..lora.dropout import DropoutSeed
from ..lora.initialize import find_start, load_transformer_file
from ..models.compile import compile_blocks
from ..models.precision import base_dtype
from ..models.sources.meta_loading import on_meta
from ..storage.atomic import atomic_folder, write_json
from ..storage.tensors import write_safetensors


class TrainableModel:
    """Every weight of the transformer, in float32."""

    def __init__(
        self, config: TrainingConfig, source: ModelSource, device: torch.device, report: Reporter
    ):
        options = config.acceleration
        self.file_dtype = base_dtype(options.mixed_precision_mode)
        self.as_folder = config.checkpoints.write_diffusers
        self.causal_positions = source.causal_positions
        report(Progress("load model", 0, 1, "model"))
        self.transformer = source.load_transformer(torch.float32)
        if config.model.load_checkpoint is not None:
            path = find_start(Path(config.model.load_checkpoint), "full")
            load_transformer_file(self.transformer, path)
            report(Notice(f"starting from {path.name}"))
        self.transformer.to(device).train().requires_grad_(True)
        make_lean(self.transformer)
        if config.optimization.enable_gradient_checkpointing:
            self.transformer.enable_gradient_checkpointing()
        if options.compile_with_inductor:
            compile_blocks(self.transformer, options.compilation_mode, report, [])
        report(Progress("load model", 1, 1, "model"))
        self.parameters = list(self.transformer.parameters())
        self.dropout_seed = DropoutSeed()

    def write(self, path: Path, facts: Mapping[str, str]) -> None:
        """Writes the transformer in the run's precision, as ComfyUI's loaders for diffusion models
        and for checkpoints read it; with `checkpoints.write_diffusers` a folder
        `<name>-diffusers` beside it, in the diffusers layout with the transformer alone."""
        state = {
            name: value.to("cpu", self.file_dtype)
            for name, value in self.transformer.state_dict().items()
        }
        described = config_metadata(self.transformer.config, self.causal_positions)
        write_safetensors(path, transformer_tensors(state), {**facts, **described})
        if self.as_folder:
            self._write_folder(path.with_name(f"{path.stem}-diffusers"), state)

    def _write_folder(self, path: Path, state: dict[str, Tensor]) -> None:
        config = self.transformer.config
        written = on_meta(lambda: LTXVideoTransformer3DModel.from_config(config))
        written.load_state_dict(state, assign=True)
        pipeline = "LTXConditionPipeline" if self.causal_positions else "LTXPipeline"
        index = {
            "_class_name": pipeline,
            "_diffusers_version": diffusers.__version__,
            "transformer": ["diffusers", "LTXVideoTransformer3DModel"],
        }
        with atomic_folder(path) as folder:
            written.save_pretrained(folder / "transformer")
            write_json(folder / "model_index.json", index)
