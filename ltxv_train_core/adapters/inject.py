"""Puts a LoRA into the frozen transformer."""

import difflib
from fnmatch import fnmatchcase

import torch
from diffusers import LTXVideoTransformer3DModel
from peft import LoraConfig

from ..config import LoRAConfig
from ..errors import ConfigurationError


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
    parameters = [p for p in transformer.parameters() if p.requires_grad]
    for parameter in parameters:
        parameter.data = parameter.data.float()
    return parameters


def match_modules(transformer: torch.nn.Module, patterns: tuple[str, ...]) -> list[str]:
    """Full names of the linear layers that patterns name.

    A pattern is the end of a module's name ("to_q", "attn1.to_q") and may hold * and ?.

    Raises:
        ConfigurationError: names every pattern that matches nothing, with near names.
    """
    layers = [n for n, m in transformer.named_modules() if isinstance(m, torch.nn.Linear)]
    found: dict[str, None] = {}
    problems = []
    for pattern in patterns:
        matches = [n for n in layers if fnmatchcase(n, pattern) or fnmatchcase(n, f"*.{pattern}")]
        found |= dict.fromkeys(matches)
        if not matches:
            problems.append(
                f"lora.target_modules {pattern!r} matches no layer; near names: "
                f"{', '.join(_near(pattern, layers))}"
            )
    if problems:
        raise ConfigurationError(problems)
    return list(found)


def _near(pattern: str, layers: list[str]) -> list[str]:
    ends = {".".join(parts[i:]) for parts in (n.split(".") for n in layers) for i in range(1, 5)}
    known = sorted(end for end in ends if end and not end[0].isdigit())
    return difflib.get_close_matches(pattern, known, n=4, cutoff=0.3) or ["to_q", "to_k", "to_v"]
