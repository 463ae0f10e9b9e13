"""One row of a benchmark: what is trained, and what it should take."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

from ..config import TrainingConfig, build
from ..families.open import ModelDescription, describe_model
from ..families.registry import family_named
from ..geometry import VideoSize
from ..gpu_check.random_model import LTX_2, Sizes
from ..recipes.clips import Clips
from ..training.memory_estimate import (
    TrainingBytes,
    training_bytes,
)
from ..training.transformer_sizes import TransformerSizes, transformer_sizes
from .names import LTX2_19B, sections_of

FPS = 24.0


@dataclass(frozen=True)
class Case:
    """A step to measure.

    Attributes:
        model: as the table names it.
        family: of the model.
        config: diffusers' configuration of its transformer, with as many blocks as are run.
        all_blocks: how many the model has.
        options: see `names.sections_of`.
        attention: see `names.ATTENTION`.
        steps: that are measured, after one that isn't.
    """

    model: str
    family: str
    config: Mapping[str, Any]
    all_blocks: int
    size: str
    rank: int
    options: str
    attention: str
    batch_size: int
    steps: int

    @property
    def blocks(self) -> int:
        """How many are run."""
        return int(self.config["num_layers"])

    @property
    def text(self) -> str:
        """What it is, in a line."""
        return f"{self.model} {self.size} rank {self.rank} {self.options} {self.attention}"

    @cached_property
    def tokens(self) -> Mapping[str, int]:
        """Of a sample, by stream."""
        return Clips.alike(1, VideoSize.parse(self.size), FPS, family_named(self.family)).tokens

    def training_config(self, data: Path) -> TrainingConfig:
        """The configuration of a run like it, on a data set.

        Raises:
            ConfigurationError: an option has a value that it can't have.
        """
        given = sections_of(self.options)
        acceleration = {"compile_with_inductor": False} | given.get("acceleration", {})
        if "blocks_to_offload" in acceleration:  # all of those that are run
            acceleration["blocks_to_offload"] = self.blocks
        optimization = {"steps": 1000, "batch_size": self.batch_size}
        values = {
            "data": {"preprocessed_data_root": str(data)},
            "lora": {"rank": self.rank, "alpha": self.rank},
            "optimization": optimization | given.get("optimization", {}),
            "acceleration": acceleration,
        }
        return build(TrainingConfig, values)

    def estimate(self) -> TrainingBytes:
        """What `estimate` tells of it."""
        sizes = _sizes(self.family, tuple(sorted(self.config.items())))
        return training_bytes(self.training_config(Path("data")), sizes, self.tokens)


def described(model: str) -> ModelDescription:
    """What is known of a model of `names.MODELS`, or of one that is on this machine.

    Raises:
        ModelError: there is no such model.
        NotAllowedError: it may not be read.
    """
    if model != LTX2_19B:
        return describe_model(model)
    small = describe_model(LTX_2.miniature)
    sizes = LTX_2.config(Sizes(heads=32, head_width=128, clip=VideoSize(32, 32, 1)))
    config = {**(small.config or {}), **sizes, "num_layers": small.family.sizes[0].layers}
    return ModelDescription(model, small.family, config, is_fp8=False, sampling=None)


@lru_cache(maxsize=8)
def _sizes(family: str, config: tuple[tuple[str, Any], ...]) -> TransformerSizes:
    """It takes a second for each model."""
    return transformer_sizes(
        ModelDescription("random", family_named(family), dict(config), is_fp8=False, sampling=None)
    )
