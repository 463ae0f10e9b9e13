from typing import ClassVar, Literal

from pydantic import field_validator, model_validator

from ..base import Section, option
from ..layer_rules import LayerRule, parse_layer_rule


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
    layer_rules: tuple[str, ...] = option(
        (),
        "Rank and learning rate of some layers, one rule per line: a pattern as in target_modules, 'blocks 0-9', or "
        "both, then 'rank 8', 'rate 0.5' (a factor on the learning rate), or 'off' to leave layers out. Of rules for "
        "one layer the last one counts; off is final. For example: 'blocks 0-9 attn2: rank 8, rate 0.5'.",
        advanced=True,
    )
    lora_plus_ratio: float = option(
        1.0,
        "LoRA+: the learning rate of the second matrix (lora_B) is this many times that of the first one. 1: the same "
        "for both; the paper takes 16. For lora, rslora and dora.",
        ge=0.1,
        le=1000.0,
        step=0.1,
        advanced=True,
    )

    @property
    def rules(self) -> tuple[LayerRule, ...]:
        """`layer_rules`, read."""
        return tuple(map(parse_layer_rule, self.layer_rules))

    @property
    def has_own_rates(self) -> bool:
        """Whether some of what is trained has a learning rate of its own."""
        return self.lora_plus_ratio != 1 or any(rule.rate is not None for rule in self.rules)

    @property
    def scale(self) -> float:
        """What the change of a layer is multiplied with."""
        if self.adapter == "oft":
            return 1.0
        return self.alpha / (self.rank**0.5 if self.adapter == "rslora" else self.rank)

    @field_validator("layer_rules")
    @classmethod
    def _rules_that_can_be_read(cls, lines: tuple[str, ...]) -> tuple[str, ...]:
        problems = []
        for line in lines:
            try:
                parse_layer_rule(line)
            except ValueError as error:
                problems.append(str(error))
        if problems:
            raise ValueError("; ".join(problems))
        return lines

    @model_validator(mode="after")
    def _suits_the_adapter(self) -> "LoRAConfig":
        if self.lora_plus_ratio != 1 and self.adapter in ("lokr", "loha", "oft"):
            raise ValueError(
                f"lora_plus_ratio {self.lora_plus_ratio:g}: {self.adapter} has no second matrix that begins with zeros; set "
                "it to 1, or choose lora, rslora or dora"
            )
        if self.adapter != "oft":
            return self
        if low := [rank for rank in (self.rank, *(rule.rank for rule in self.rules)) if rank == 1]:
            raise ValueError(
                f"rank {low[0]}: oft rotates blocks of at most so many outputs; set it to 2 or more"
            )
        if self.dropout > 0:
            raise ValueError(
                f"dropout {self.dropout:g}: oft rotates outputs, and has no inputs of its own to leave out; set it "
                "to 0, or choose another adapter"
            )
        return self
