from typing import ClassVar

from ..base import Section, option


class LoRAConfig(Section):
    """The section `lora`."""

    summary: ClassVar[str] = "Rank, scale and target modules of the LoRA."

    rank: int = option(
        64, "Rank of the LoRA: higher means more trainable parameters.", ge=1, le=1024
    )
    alpha: int = option(
        64, "The LoRA is scaled by alpha / rank; usually equal to the rank.", ge=1, le=4096
    )
    dropout: float = option(
        0.0,
        "Dropout: share of the LoRA's inputs that is set to zero in each step.",
        ge=0.0,
        lt=1.0,
        step=0.01,
        advanced=True,
    )
    target_modules: tuple[str, ...] = option(
        ("to_k", "to_q", "to_v", "to_out.0"),
        "Transformer modules that get a LoRA, one per line: the end of a module's name, a pattern with * "
        "and ?, or a preset: video, audio, cross-modal (attention between both), all.",
        min_length=1,
        advanced=True,
    )
