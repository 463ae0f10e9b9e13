"""What a run takes on its device, from sizes alone: no weights are read.

An estimate: attention's and the allocator's working memory come on top.
"""

import math
import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from torch import nn

from ..config import LoRAConfig, TrainingConfig
from ..errors import ConfigurationError, ModelError, cut
from ..families.open import ModelDescription
from ..lora.targets import TARGET_PRESETS, match_names
from ..models.memory.quantize import BITS
from ..models.precision import base_dtype
from ..models.sources.meta_loading import on_meta
from ..models.transformer import Transformer
from ..units import GIB

FLOAT32_BYTES = 4
GRADIENT_BYTES = 4
OPTIMIZER_BYTES = {"adamw8bit": 2, "adafactor": 0, "prodigy": 16}
ADAMW_BYTES = 8
HALF_COPY_BYTES = 2  # autocast keeps one of every trained weight
AVERAGE_BYTES = 4
MOST_OFFLOADED_ON_DEVICE = 2
"""Blocks of the offloaded ones whose weights are on the device at a time, see `models/memory/offload.py`."""

_BLOCK, _FIRST_BLOCK = re.compile(r"^transformer_blocks\.[0-9]+\."), "transformer_blocks.0."


@dataclass(frozen=True)
class TrainingBytes:
    """What a run takes on its device, in bytes.

    Attributes:
        base: the transformer's weights; in full training they are what is trained.
        trained: the LoRA's weights, gradients, optimizer state, copies in half precision.
        activations: what a step saves for backward.
    """

    base: int
    trained: int
    activations: int

    @property
    def total(self) -> int:
        return self.base + self.trained + self.activations


@dataclass(frozen=True)
class TransformerSizes:
    """How many numbers a transformer has, and where.

    Attributes:
        description: of its model.
        config: diffusers' configuration, with what it takes for options that are left out.
        blocks: how many there are.
        matrices: numbers in the weights of the blocks' linear layers, which can be quantized.
        block_rest: all other numbers of the blocks.
        outside: numbers before and after the blocks.
        linear: [outputs, inputs] of every linear layer, by name.
        other_modules: names of all other modules.
    """

    description: ModelDescription
    config: Mapping[str, Any]
    blocks: int
    matrices: int
    block_rest: int
    outside: int
    linear: Mapping[str, tuple[int, int]]
    other_modules: tuple[str, ...]

    @property
    def numbers(self) -> int:
        """All of them."""
        return self.matrices + self.block_rest + self.outside

    def lora_numbers(self, lora: LoRAConfig) -> int:
        """Trained numbers of a LoRA.

        Raises:
            ConfigurationError: a target module matches no layer.
        """
        names = match_names(list(self.linear), list(self.other_modules), lora.target_modules)
        return lora.rank * sum(sum(self.linear[name]) for name in names)

    def preset_numbers(self, rank: int) -> dict[str, int]:
        """Trained numbers of a LoRA on the layers of each preset that this transformer has layers of."""
        found = {}
        for preset in TARGET_PRESETS:
            with suppress(ConfigurationError):
                lora = LoRAConfig(rank=rank, target_modules=(preset,))
                found[preset] = self.lora_numbers(lora)
        return found


def transformer_sizes(description: ModelDescription) -> TransformerSizes:
    """Counts the numbers of a model's transformer.

    It is built with one block, which stands for all, and without memory for its weights.

    Raises:
        ModelError: its configuration isn't known yet, or describes no transformer.
    """
    config, layers = description.config, description.family.layers
    if config is None:
        raise ModelError(
            f"model_source {cut(description.name)}: its sizes are not known before it is downloaded; "
            "preprocess a data set with it first, or give a file, a folder or a version name"
        )
    built: Transformer = on_meta(lambda: layers.new_transformer({**config, "num_layers": 1}))
    blocks = config.get("num_layers")
    if type(blocks) is not int:
        blocks = len(on_meta(lambda: layers.new_transformer(config)).transformer_blocks)
    linear = {n: m for n, m in built.named_modules() if isinstance(m, nn.Linear)}
    block = sum(p.numel() for p in built.transformer_blocks.parameters())
    matrices = sum(
        layer.weight.numel()
        for name, layer in linear.items()
        if name.startswith(_FIRST_BLOCK) and "norm" not in name  # as `quantize_base` leaves them
    )
    names, others = layers.module_names(blocks)
    return TransformerSizes(
        description=description,
        config={**built.config, "num_layers": blocks},
        blocks=blocks,
        matrices=blocks * matrices,
        block_rest=blocks * (block - matrices),
        outside=sum(p.numel() for p in built.parameters()) - block,
        linear={
            name: (layer.out_features, layer.in_features)
            for name in names
            if (layer := linear.get(_BLOCK.sub(_FIRST_BLOCK, name)))
        },
        other_modules=tuple(others),
    )


def training_bytes(
    config: TrainingConfig, sizes: TransformerSizes, tokens: Mapping[str, int]
) -> TrainingBytes:
    """What a run takes on its device.

    Args:
        sizes: of the model that `config.model` names.
        tokens: of the largest clip by stream, its reference included.

    Raises:
        ConfigurationError: a target module of the LoRA matches no layer.
    """
    is_full = config.model.training_mode == "full"
    numbers = sizes.numbers if is_full else sizes.lora_numbers(config.lora)
    per_number = bytes_per_trained_number(config) + (0 if is_full else FLOAT32_BYTES)
    batch = config.optimization.batch_size

    def saved(recomputed: int) -> int:
        return sizes.description.family.saved_bytes(
            sizes.config,
            {stream: count * batch for stream, count in tokens.items()},
            batch,
            config.model.training_mode,
            forward_precision(config),
            recomputed,
        )

    activations = saved(recomputed_blocks(config, sizes.blocks, saved))
    base = sizes.numbers * FLOAT32_BYTES if is_full else _frozen_base(config, sizes)
    return TrainingBytes(base, numbers * per_number, activations)


def bytes_per_trained_number(config: TrainingConfig) -> int:
    """Gradient, optimizer state, copy in half precision and average of one trained number; not itself."""
    options = config.optimization
    size = GRADIENT_BYTES + OPTIMIZER_BYTES.get(options.optimizer_type, ADAMW_BYTES)
    if forward_precision(config) == "half":
        size += HALF_COPY_BYTES
    return size + (0 if options.ema_decay is None else AVERAGE_BYTES)


def forward_precision(config: TrainingConfig) -> str:
    """Of the forward pass: "half" or "float32"."""
    return "float32" if config.acceleration.mixed_precision_mode == "no" else "half"


def recomputed_blocks(
    config: TrainingConfig, blocks: int, saved: Callable[[int], int], free: float = math.inf
) -> int:
    """How many of the blocks are computed again in the backward pass.

    Args:
        saved: bytes that a step keeps if so many are.
        free: bytes that the device has for that.
    """
    if config.optimization.enable_gradient_checkpointing:
        return blocks
    offloaded = min(config.acceleration.blocks_to_offload, blocks)
    budget = config.optimization.checkpointing_budget
    if budget is None:
        return offloaded
    allowed = min(budget * GIB, free)
    return next((n for n in range(offloaded, blocks) if saved(n) <= allowed), blocks)


def _frozen_base(config: TrainingConfig, sizes: TransformerSizes) -> int:
    """Bytes of the frozen weights that are on the device at a time."""
    options = config.acceleration
    number = base_dtype(options.mixed_precision_mode).itemsize
    matrix: float = number
    if sizes.description.is_fp8:
        matrix = 1
    elif options.quantization is not None:
        matrix = BITS[options.quantization] / 8
    in_blocks = sizes.matrices * matrix + sizes.block_rest * number
    offloaded = min(options.blocks_to_offload, sizes.blocks)
    away = offloaded - min(offloaded, MOST_OFFLOADED_ON_DEVICE)
    return round(in_blocks * (1 - away / sizes.blocks) + sizes.outside * number)
