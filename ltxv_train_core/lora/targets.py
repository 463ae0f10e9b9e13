"""Which layers of a transformer get a LoRA: patterns, and presets of them that are usually taken together."""

import difflib
from fnmatch import fnmatchcase

import torch

from ..errors import ConfigurationError, shown

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
    modules = dict(transformer.named_modules())
    linear = [name for name, module in modules.items() if isinstance(module, torch.nn.Linear)]
    return match_names(linear, [name for name in modules if name not in linear], patterns)


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
