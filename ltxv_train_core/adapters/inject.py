"""Puts a LoRA into the frozen transformer."""

import difflib
from fnmatch import fnmatchcase

import torch
from diffusers import LTXVideoTransformer3DModel
from peft import LoraConfig
from peft.tuners.lora import LoraLayer

from ..config import LoRAConfig
from ..errors import ConfigurationError, shown
from ..models.fp8 import Fp8Linear


def add_lora(
    transformer: LTXVideoTransformer3DModel, config: LoRAConfig, seed: int
) -> list[torch.nn.Parameter]:
    """Freezes the transformer and adds a LoRA in float32, whatever the base's precision.

    Args:
        seed: of the LoRA's initial weights; the global random state is left alone.

    Returns:
        The trainable parameters.

    Raises:
        ConfigurationError: when a target pattern matches no module.
    """
    names = match_modules(transformer, config.target_modules)
    transformer.requires_grad_(False)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        transformer.add_adapter(
            LoraConfig(
                r=config.rank,
                lora_alpha=config.alpha,
                lora_dropout=config.dropout,
                target_modules=names,
            )
        )
        _draw_in_float32(transformer)
    for layer in transformer.modules():
        if isinstance(layer, LoraLayer):
            # Autocast brings the input to its format; in between, each would keep a copy of it.
            layer.cast_input_dtype_enabled = False
    parameters = [p for p in transformer.parameters() if p.requires_grad]
    for parameter in parameters:
        parameter.data = parameter.data.float()
    return parameters


def _draw_in_float32(transformer: LTXVideoTransformer3DModel) -> None:
    """Draws a LoRA on fp8 layers again: peft made it in their format, in which most of the small
    initial weights are zero."""
    for layer in transformer.modules():
        if isinstance(layer, LoraLayer) and isinstance(layer.get_base_layer(), Fp8Linear):
            for name, down in layer.lora_A.items():
                down.float()
                layer.lora_B[name].float()
                layer.reset_lora_parameters(name, init_lora_weights=True)


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
