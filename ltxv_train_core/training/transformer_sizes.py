"""How many numbers a transformer has, and where, without its weights."""

import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from torch import nn

from ..config import LoRAConfig
from ..errors import ConfigurationError, ModelError, cut
from ..families.open import ModelDescription
from ..lora.adapter_shapes import adapter_numbers
from ..lora.targets import TARGET_PRESETS, chosen_layers
from ..models.sources.meta_loading import on_meta
from ..models.transformer import Transformer

_BLOCK, _FIRST_BLOCK = re.compile(r"^transformer_blocks\.[0-9]+\."), "transformer_blocks.0."


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

    @property
    def largest(self) -> int:
        """Numbers of the largest weight."""
        return max(rows * columns for rows, columns in self.linear.values())

    def lora_numbers(self, lora: LoRAConfig) -> int:
        """Trained numbers of a LoRA.

        Raises:
            ConfigurationError: a target module matches no layer.
        """
        layers = self.lora_layers(lora).items()
        return sum(adapter_numbers(lora, *self.linear[n], rank) for n, rank in layers)

    def lora_layers(self, lora: LoRAConfig) -> dict[str, int]:
        """The layers that a LoRA is in, and their ranks. Raises as `lora_numbers` does."""
        return chosen_layers(list(self.linear), list(self.other_modules), lora)

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
