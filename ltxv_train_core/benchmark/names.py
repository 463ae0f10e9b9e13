"""What a benchmark varies, by name. No torch."""

from typing import Any

from ..config import AccelerationConfig, options
from ..errors import ConfigurationError, shown
from ..families.registry import FAMILIES, a_version_of_each_size

LTX2_19B = "LTX2_19B"
"""Blocks as many and as wide as those of LTX-2.3."""

MODELS = (*a_version_of_each_size(), LTX2_19B, *(family.miniature for family in FAMILIES))
"""Whose shapes are measured; nothing of them is downloaded."""

AUTOMATIC = "automatic"
ATTENTION = {
    AUTOMATIC: None,
    "flash": "FLASH_ATTENTION",
    "memory-efficient": "EFFICIENT_ATTENTION",
    "cudnn": "CUDNN_ATTENTION",
    "math": "MATH",
}
"""Kernels by torch's names (`torch.nn.attention.SDPBackend`); automatic: torch chooses."""

NOTHING = "none"
_QUANTIZATION = next(o for o in options(AccelerationConfig) if o.name == "quantization")
_MOST_BLOCKS = 1000
_SECTIONS: dict[str, tuple[str, dict[str, Any]]] = {
    "checkpointing": ("optimization", {"enable_gradient_checkpointing": True}),
    "offload": ("acceleration", {"blocks_to_offload": _MOST_BLOCKS}),
    "compile": (
        "acceleration",
        {"compile_with_inductor": True, "compilation_mode": "default"},
    ),
    "quantized-matmul": ("acceleration", {"quantized_matmul": True}),
    **{
        kind: ("acceleration", {"quantization": kind})
        for kind in _QUANTIZATION.choices
        if kind != NOTHING
    },
}
OPTIONS = (NOTHING, *_SECTIONS)
"""What changes a step's time and memory. Several are joined: checkpointing+int8-quanto."""


def sections_of(written: str) -> dict[str, dict[str, Any]]:
    """The options of a configuration that `checkpointing+int8-quanto` stands for.

    Raises:
        ConfigurationError: there is no such option, or two that exclude each other.
    """
    found: dict[str, dict[str, Any]] = {}
    for name in filter(lambda name: name != NOTHING, written.split("+")):
        if name not in _SECTIONS:
            raise ConfigurationError(
                [f"options: {shown(written)}: expected some of {', '.join(OPTIONS)}, joined by +"]
            )
        section, values = _SECTIONS[name]
        if twice := found.get(section, {}).keys() & values.keys():
            raise ConfigurationError(
                [f"options: {shown(written)}: sets {', '.join(twice)} twice; name it once"]
            )
        found.setdefault(section, {}).update(values)
    return found
