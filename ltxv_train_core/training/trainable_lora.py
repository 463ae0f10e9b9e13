from collections.abc import Mapping
from pathlib import Path

import torch

from ..config import TrainingConfig
from ..events import Notice, Progress, Reporter, StopSignal
from ..families.model import Model
from ..lora.adapter_shapes import PLAIN
from ..lora.convert import unknown_to_diffusers, write_other_forms
from ..lora.dropout import DropoutSeed
from ..lora.file import lora_tensors, write_adapter_file, write_lora_file
from ..lora.initialize import adapted_layers, find_start, start_from, trained_layers
from ..lora.inject import add_lora, rate_factors
from ..models.compile import compile_blocks
from ..models.memory.checkpointing import new_checkpoint
from ..models.memory.offload import offload, place_blocks, spread_blocks
from ..models.memory.quantize import frozen_bytes, multiply_in_eight_bits, quantize_base
from ..models.precision import base_dtype, file_dtype
from ..models.transformer import Transformer
from ..units import byte_size


class TrainableLoRA:
    """A LoRA, or another adapter, in float32 in the frozen base, which is quantized, offloaded and compiled as
    configured."""

    def __init__(
        self,
        config: TrainingConfig,
        source: Model,
        device: torch.device,
        report: Reporter,
        stop: StopSignal | None = None,
    ):
        self.config = config
        options = config.acceleration
        report(Progress("load model", 0, 1, "model"))
        transformer = source.load_transformer(base_dtype(options.mixed_precision_mode))
        offloaded = spread_blocks(len(transformer.transformer_blocks), options.blocks_to_offload)
        if options.quantization is not None:
            quantize_base(transformer, options.quantization, device, offloaded)
        if options.quantized_matmul:
            multiply_in_eight_bits(transformer.transformer_blocks)
        place_blocks(transformer, device, offloaded)
        transformer.train()
        self.denoiser = source.transformer.denoiser(transformer)
        on_host = config.optimization.activations_on_host
        self.checkpoint = new_checkpoint(device, on_host, report)
        if config.optimization.enable_gradient_checkpointing:
            transformer.enable_gradient_checkpointing(self.checkpoint)
        self.is_compiled = compile_blocks(
            transformer, options, config.optimization.steps, report, offloaded, stop
        )
        report(Progress("load model", 1, 1, "model"))
        self.dropout_seed = DropoutSeed()
        self.parameters = add_lora(transformer, config.lora, config.seed, self.dropout_seed)
        self.rates = rate_factors(transformer, config.lora)
        if offloaded:
            offload(transformer, device, offloaded, report, self.checkpoint)
            report(Notice(_offloaded_size(transformer, offloaded, device)))
        if config.model.load_checkpoint is not None:
            path = find_start(Path(config.model.load_checkpoint), "lora")
            new = start_from(transformer, path, config.lora)
            rest = f"; {new} layers that it lacks start from zero" if new else ""
            report(Notice(f"starting from {path.name}{rest}"))
        if not config.checkpoints.write_diffusers:
            for line in self._unknown_to_diffusers(source):
                report(Notice(f"{line} (checkpoints.write_diffusers)"))

    def write(self, path: Path | None, facts: Mapping[str, str]) -> None:
        lora, files = self.config.lora, self.config.checkpoints
        transformer, dtype = self.denoiser.transformer, file_dtype(files.lora_dtype)
        plain = lora_tensors(transformer) if lora.adapter in PLAIN else {}
        if path is None:
            return
        if lora.adapter == "lora":
            write_lora_file(path, plain, lora.rank, lora.alpha, dict(facts), dtype)
        else:
            own = {"adapter": lora.adapter, "rank": str(lora.rank), "alpha": str(lora.alpha)}
            metadata = own | dict(facts)
            if plain:
                write_lora_file(path, plain, lora.rank, lora.scale * lora.rank, metadata, dtype)
            else:
                found = adapted_layers(transformer).items()
                layers = {name: each.as_layer() for name, each in found}
                write_adapter_file(path, layers, metadata, dtype)
        write_other_forms(path, files.other_forms)

    def _unknown_to_diffusers(self, source: Model) -> list[str]:
        """A line on names that diffusers doesn't know; it reads no other adapters at all."""
        if self.config.lora.adapter not in PLAIN:
            return []
        return unknown_to_diffusers(trained_layers(self.denoiser.transformer), source.family)


def _offloaded_size(transformer: Transformer, offloaded: list[int], device: torch.device) -> str:
    blocks = transformer.transformer_blocks
    size = byte_size(sum(frozen_bytes(blocks[number]) for number in offloaded))
    saved = "; on a CPU that saves nothing" if device.type == "cpu" else ""
    return f"{len(offloaded)} of {len(blocks)} blocks ({size}) live in host memory{saved}"
