from typing import ClassVar, Literal

from pydantic import model_validator

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
    adapter: Literal["lora", "rslora", "dora", "lokr", "loha", "oft"] = option(
        "lora",
        "What is trained in each layer. lora: two thin matrices. rslora: the same, scaled by alpha / sqrt(rank), "
        "for high ranks. dora: a LoRA and the length of each column of the weights. lokr: a Kronecker product, very "
        "small files. loha: the product of two LoRAs, value by value. oft: rotations of the outputs in blocks of at "
        "most rank; alpha has no effect.",
        advanced=True,
    )
    lokr_factor: int = option(
        0,
        "With adapter lokr: the size of the first of both matrices, at most; a smaller one makes the second one larger, "
        "and trains more. 0: both are as alike as they can be.",
        ge=0,
        le=1024,
        advanced=True,
    )

    @property
    def scale(self) -> float:
        """What the change of a layer is multiplied with."""
        if self.adapter == "oft":
            return 1.0
        return self.alpha / (self.rank**0.5 if self.adapter == "rslora" else self.rank)

    @model_validator(mode="after")
    def _suits_the_adapter(self) -> "LoRAConfig":
        if self.adapter != "oft":
            return self
        if self.rank < 2:
            raise ValueError(
                f"rank {self.rank}: oft rotates blocks of at most so many outputs; set it to 2 or more"
            )
        if self.dropout > 0:
            raise ValueError(
                f"dropout {self.dropout:g}: oft rotates outputs, and has no inputs of its own to leave out; set it "
                "to 0, or choose another adapter"
            )
        return self
