"""Puts a LoRA into the frozen transformer."""

import difflib
import math
from fnmatch import fnmatchcase

import torch
from peft import LoraConfig
from peft.tuners.lora import LoraLayer
from torch import nn

from ..config import LoRAConfig
from ..errors import ConfigurationError, shown
from ..models.memory.frozen_linear import FLOAT8
from ..models.transformer import Transformer
from .dropout import DropoutSeed, SeededDropout


def add_lora(
    transformer: Transformer,
    config: LoRAConfig,
    seed: int,
    dropout_seed: DropoutSeed | None = None,
) -> list[torch.nn.Parameter]:
    """Freezes the transformer and adds a LoRA in float32, whatever the base's precision.

    Args:
        seed: of the LoRA's initial weights; the global random state is left alone.
        dropout_seed: what dropout draws by, to be set before each forward pass.

    Returns:
        The trainable parameters.

    Raises:
        ConfigurationError: when a target pattern matches no module.
    """
    names = match_modules(transformer, config.target_modules)
    transformer.requires_grad_(False)
    with torch.device("meta"):  # peft would draw from the global random state
        transformer.add_adapter(
            LoraConfig(r=config.rank, lora_alpha=config.alpha, target_modules=names)
        )
    generator = torch.Generator().manual_seed(seed)
    for name, layer in transformer.named_modules():
        if isinstance(layer, LoraLayer):
            _draw(layer, generator)
            # Autocast brings the input to its format; in between, each would keep a copy of it.
            layer.cast_input_dtype_enabled = False
            if config.dropout > 0:
                own = SeededDropout(config.dropout, name, dropout_seed or DropoutSeed())
                layer.lora_dropout = nn.ModuleDict(dict.fromkeys(layer.lora_A, own))
    return [p for p in transformer.parameters() if p.requires_grad]


def _draw(layer: LoraLayer, generator: torch.Generator) -> None:
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


def match_modules(transformer: torch.nn.Module, patterns: tuple[str, ...]) -> list[str]:
    """Full names of the linear layers that patterns name.

    A pattern is the end of a module's name ("to_q", "attn1.to_q") and may hold * and ?.

    Raises:
        ConfigurationError: names every pattern that matches nothing, with near names.
    """
    modules = dict(transformer.named_modules())
    linear = [name for name, module in modules.items() if isinstance(module, torch.nn.Linear)]
    return match_names(linear, [name for name in modules if name not in linear], patterns)


def match_names(linear: list[str], others: list[str], patterns: tuple[str, ...]) -> list[str]:
    """As `match_modules`, from the names of linear layers and of other modules alone."""
    found: dict[str, None] = {}
    problems = []
    for pattern in patterns:
        matches = _matching(pattern, linear)
        found |= dict.fromkeys(matches)
        if not matches and (other := next(iter(_matching(pattern, others)), None)):
            below = [name for name in linear if name.startswith(f"{other}.")]
            helps = "add .* to take those in it" if below else "leave it out"
            problems.append(
                f"lora.target_modules {shown(pattern)} names no linear layer ({other} is none), and "
                f"only those can have a LoRA; {helps}"
            )
        elif not matches:
            problems.append(
                f"lora.target_modules {shown(pattern)} matches no layer; near names: "
                f"{', '.join(_near(pattern, linear))}"
            )
    if problems:
        raise ConfigurationError(problems)
    return list(found)


def _matching(pattern: str, names: list[str]) -> list[str]:
    return [n for n in names if fnmatchcase(n, pattern) or fnmatchcase(n, f"*.{pattern}")]


def _near(pattern: str, layers: list[str]) -> list[str]:
    ends = {".".join(parts[i:]) for parts in (n.split(".") for n in layers) for i in range(1, 5)}
    known = sorted(end for end in ends if end and not end[0].isdigit())
    return difflib.get_close_matches(pattern, known, n=4, cutoff=0.3) or ["to_q", "to_k", "to_v"]
