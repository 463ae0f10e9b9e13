"""Puts a LoRA, or another adapter, into the frozen transformer.

peft takes seconds to import: only when it is needed.
"""

import math
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import nn

from ..config import LoRAConfig
from ..models.memory.frozen_linear import FLOAT8
from ..models.transformer import Transformer
from .adapter_modules import ADAPTER_MODULES
from .adapter_shapes import PLAIN
from .dropout import DropoutSeed, SeededDropout
from .targets import layer_rates, layers_of

if TYPE_CHECKING:
    from peft.tuners.lora import LoraLayer

_TRAINED = re.compile(r"\.(?:lora_[AB]|trained)\.")
_LORA_B = re.compile(r"\.lora_B[._]")


def add_lora(
    transformer: Transformer,
    config: LoRAConfig,
    seed: int,
    dropout_seed: DropoutSeed | None = None,
) -> list[torch.nn.Parameter]:
    """Freezes the transformer and adds a LoRA or what `config.adapter` names, in float32, whatever the base's precision.

    Args:
        seed: of the initial weights; the global random state is left alone.
        dropout_seed: what dropout draws by, to be set before each forward pass.

    Returns:
        The trainable parameters.

    Raises:
        ConfigurationError: when a target pattern matches no module.
    """
    chosen = layers_of(transformer, config)
    transformer.requires_grad_(False)
    generator = torch.Generator().manual_seed(seed)
    if config.adapter in PLAIN:
        _add_plain(transformer, chosen, config, generator, dropout_seed)
    else:
        _add_other(transformer, chosen, config, generator, dropout_seed)
    return [p for p in transformer.parameters() if p.requires_grad]


def rate_factors(transformer: Transformer, config: LoRAConfig) -> list[float]:
    """What the learning rate of each trained parameter is multiplied with, in their order.

    `lora_B` has `config.lora_plus_ratio` times the rate of its layer (Hayou et al. 2024, arXiv 2402.12354).
    """
    names = [name for name, each in transformer.named_parameters() if each.requires_grad]
    rates = layer_rates(list(dict.fromkeys(map(_layer_of, names))), config)
    ratio = config.lora_plus_ratio
    return [rates[_layer_of(name)] * (ratio if _LORA_B.search(name) else 1.0) for name in names]


def _layer_of(name: str) -> str:
    """The layer that a trained parameter is in."""
    return _TRAINED.split(name)[0]


def _add_plain(
    transformer: Transformer,
    chosen: Mapping[str, int],
    config: LoRAConfig,
    generator: torch.Generator,
    dropout_seed: DropoutSeed | None,
) -> None:
    from peft import LoraConfig
    from peft.tuners.lora import LoraLayer

    # The scale is the same in all layers, also in those of another rank.
    ranks = {re.escape(name): rank for name, rank in chosen.items() if rank != config.rank}
    alphas = {name: config.scale * _per_scale(rank, config) for name, rank in ranks.items()}
    with torch.device("meta"):  # peft would draw from the global random state
        transformer.add_adapter(
            LoraConfig(
                r=config.rank,
                lora_alpha=config.alpha,
                target_modules=list(chosen),
                rank_pattern=ranks,
                alpha_pattern=alphas,
                use_rslora=config.adapter == "rslora",
            )
        )
    for name, layer in transformer.named_modules():
        if isinstance(layer, LoraLayer):
            _draw(layer, generator)
            # Autocast brings the input to its format; in between, each would keep a copy of it.
            layer.cast_input_dtype_enabled = False
            if config.dropout > 0:
                own = SeededDropout(config.dropout, name, dropout_seed or DropoutSeed())
                layer.lora_dropout = nn.ModuleDict(dict.fromkeys(layer.lora_A, own))


def _add_other(
    transformer: Transformer,
    chosen: Mapping[str, int],
    config: LoRAConfig,
    generator: torch.Generator,
    dropout_seed: DropoutSeed | None,
) -> None:
    for name, rank in chosen.items():
        dropout: nn.Module = nn.Identity()
        if config.dropout > 0:
            dropout = SeededDropout(config.dropout, name, dropout_seed or DropoutSeed())
        base = transformer.get_submodule(name)
        assert isinstance(base, nn.Linear)
        layer = ADAPTER_MODULES[config.adapter](base, config, rank, dropout)
        layer.reset(generator)
        parent, _, own = name.rpartition(".")
        setattr(transformer.get_submodule(parent), own, layer)


def _per_scale(rank: int, config: LoRAConfig) -> float:
    """What peft divides alpha by."""
    return math.sqrt(rank) if config.adapter == "rslora" else float(rank)


def _draw(layer: "LoraLayer", generator: torch.Generator) -> None:
    """Gives a layer's LoRA its initial weights, as peft draws them: lora_B is zero.

    They are rounded to the base's format, except to fp8, in which most of them would be zero.
    """
    base = layer.get_base_layer().weight
    is_rounded = base.dtype.is_floating_point and base.dtype not in FLOAT8
    rounded = base.dtype if is_rounded else torch.float32
    for name in layer.lora_A:
        down, up = layer.lora_A[name], layer.lora_B[name]
        drawn = torch.empty(down.weight.shape)
        # A linear layer draws weights when it is made, and lora_A then draws others.
        for weight in (drawn, torch.empty(up.weight.shape), drawn):
            nn.init.kaiming_uniform_(weight, a=math.sqrt(5), generator=generator)
        for part, value in ((down, drawn.to(rounded).float()), (up, torch.zeros(up.weight.shape))):
            part.weight = nn.Parameter(value.to(base.device))
