"""Which layers of a transformer get a LoRA: patterns, and presets of them that are usually taken together."""

from __future__ import annotations

import difflib
import re
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from ..config import LoRAConfig
from ..config.layer_rules import LayerRule
from ..errors import ConfigurationError, shown

if TYPE_CHECKING:
    import torch


_BLOCK = re.compile(r"transformer_blocks\.([0-9]+)\.")
_ATTENTION = ("to_k", "to_q", "to_v", "to_out.0")


def _of(*modules: str) -> tuple[str, ...]:
    return tuple(f"{module}.{layer}" for module in modules for layer in _ATTENTION)


TARGET_PRESETS: dict[str, tuple[str, ...]] = {
    "video": _of("attn1", "attn2"),
    "audio": _of("audio_attn1", "audio_attn2"),
    "cross-modal": _of("audio_to_video_attn", "video_to_audio_attn"),
    "all": _ATTENTION,
}
"""Patterns of `lora.target_modules` by the name that stands for them: attention within the video and to its
text, the same of the sound, attention between both, and all attention."""


def match_modules(transformer: torch.nn.Module, patterns: tuple[str, ...]) -> list[str]:
    """Full names of the linear layers that patterns name.

    A pattern is the end of a module's name ("to_q", "attn1.to_q") and may hold * and ?; the name of a preset
    stands for several.

    Raises:
        ConfigurationError: names every pattern that matches nothing, with near names.
    """
    return match_names(*_module_names(transformer), patterns)


def layers_of(transformer: torch.nn.Module, config: LoRAConfig) -> dict[str, int]:
    """The layers of a transformer that get a LoRA, and their ranks; see `chosen_layers`."""
    return chosen_layers(*_module_names(transformer), config)


def _module_names(transformer: torch.nn.Module) -> tuple[list[str], list[str]]:
    import torch

    modules = dict(transformer.named_modules())
    linear = [name for name, module in modules.items() if isinstance(module, torch.nn.Linear)]
    return linear, [name for name in modules if name not in linear]


def chosen_layers(linear: list[str], others: list[str], config: LoRAConfig) -> dict[str, int]:
    """The layers that get a LoRA, by name, in the order of the patterns, and their ranks.

    Args:
        linear: full names of linear layers.
        others: those of other modules.

    Raises:
        ConfigurationError: names every pattern and every rule that matches nothing.
    """
    names = match_names(linear, others, config.target_modules)
    found = dict.fromkeys(names, config.rank)
    problems = []
    for rule in config.rules:
        matches = _ruled(rule, names)
        if not matches:
            problems.append(
                f"lora.layer_rules {shown(rule.written)} names no layer of lora.target_modules; near names: "
                f"{', '.join(_near(rule.pattern, names))}{_blocks_of(rule, names)}"
            )
        for name in matches:
            if rule.is_off:
                found.pop(name, None)
            elif rule.rank is not None and name in found:
                found[name] = rule.rank
    if not problems and not found:
        problems.append("lora.layer_rules: every layer is off; leave some of them in")
    if problems:
        raise ConfigurationError(problems)
    return found


def layer_rates(names: list[str], config: LoRAConfig) -> dict[str, float]:
    """What the learning rate of each layer is multiplied with, by its name."""
    found = dict.fromkeys(names, 1.0)
    for rule in config.rules:
        if rule.rate is not None:
            found |= dict.fromkeys(_ruled(rule, names), rule.rate)
    return found


def _ruled(rule: LayerRule, names: list[str]) -> list[str]:
    if rule.blocks is not None:
        first, last = rule.blocks
        numbered = ((name, _BLOCK.match(name)) for name in names)
        names = [name for name, block in numbered if block and first <= int(block[1]) <= last]
    if not rule.pattern:
        return names
    patterns = TARGET_PRESETS.get(rule.pattern, (rule.pattern,))
    below = (*patterns, *(f"{pattern}.*" for pattern in patterns))
    return list(dict.fromkeys(name for each in below for name in _matching(each, names)))


def _blocks_of(rule: LayerRule, names: list[str]) -> str:
    if rule.blocks is None:
        return ""
    numbers = [int(block[1]) for block in map(_BLOCK.match, names) if block]
    return f"; they are in the blocks {min(numbers)} to {max(numbers)}" if numbers else ""


def match_names(linear: list[str], others: list[str], patterns: tuple[str, ...]) -> list[str]:
    """As `match_modules`, from the names of linear layers and of other modules alone."""
    found: dict[str, None] = {}
    problems = []
    for pattern in patterns:
        matches = [
            name
            for each in TARGET_PRESETS.get(pattern, (pattern,))
            for name in _matching(each, linear)
        ]
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
