from typing import ClassVar

from ..base import Section, option


class LoRAConfig(Section):
    summary: ClassVar[str] = "Size of the LoRA and where it is put."

    rank: int = option(
        64, "Rank of the LoRA: higher means more trainable parameters.", ge=1, le=1024
    )
    alpha: int = option(
        64, "The LoRA is scaled by alpha / rank; usually equal to the rank.", ge=1, le=4096
    )
    dropout: float = option(
        0.0, "Share of the LoRA's inputs that a step leaves out.", ge=0.0, lt=1.0, step=0.01
    )
    target_modules: tuple[str, ...] = option(
        ("to_k", "to_q", "to_v", "to_out.0"),
        "Transformer modules that get a LoRA, one per line: the end of a module's name, or a "
        "pattern with * and ?.",
        min_length=1,
    )
