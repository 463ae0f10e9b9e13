"""What a recipe is asked for."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeVar

import torch

from ..config import ModelConfig, Section, TrainingConfig
from ..errors import ConfigurationError, shown
from .clips import Clips
from .names import EFFORTS, GOALS, Effort, Goal

SectionT = TypeVar("SectionT", bound=Section)

# Desktop, CUDA context and fragments; 1.5 GiB on a small card, a tenth of a large one.
LEAST_SPARE_BYTES = 3 * 2**29


def usable_bytes(card_bytes: int) -> int:
    """How much of a card's memory an estimate may take.

    The rest is for what it leaves out: the driver, attention's and the allocator's working memory.
    """
    return max(0, card_bytes - max(card_bytes // 10, LEAST_SPARE_BYTES))


@dataclass(frozen=True)
class RecipeRequest:
    """What a recipe is asked for.

    Attributes:
        goal: what is to be learned. style: how everything looks. character: a person or a thing.
            motion: a movement or an effect. ic-lora: to follow a reference video. full: every weight.
        card_bytes: memory of the device that trains.
        data_root: as `data.preprocessed_data_root`.
        model: the base model; its `training_mode` is chosen by the goal.
        effort: how long to train.
        prompts: sampled while it trains; without any there are no samples.
        sections: given ones by name, each instead of what the recipe would choose.
        clips: those of the data set; None: they are read from it.
        device: options that can't work on it are not chosen; None: it is another machine's.
        name, output_dir: as in the configuration.
    """

    goal: Goal
    card_bytes: int
    data_root: str
    model: ModelConfig = field(default_factory=ModelConfig)
    effort: Effort = "normal"
    prompts: tuple[str, ...] = ()
    sections: Mapping[str, Section] = field(default_factory=dict)
    clips: Clips | None = None
    device: torch.device | None = None
    name: str = TrainingConfig.model_fields["name"].default
    output_dir: str = TrainingConfig.model_fields["output_dir"].default

    def given(self, section: type[SectionT]) -> SectionT | None:
        """The given section of a kind; None where the recipe chooses it."""
        return next((each for each in self.sections.values() if isinstance(each, section)), None)

    @property
    def usable_bytes(self) -> int:
        """How much of the card's memory an estimate may take."""
        return usable_bytes(self.card_bytes)

    def __post_init__(self) -> None:
        """Raises `ConfigurationError` for a goal, an effort or a card that there is not."""
        problems = [
            f"{option} {shown(given)}: expected {', '.join(allowed)}"
            for option, given, allowed in (
                ("goal", self.goal, GOALS),
                ("effort", self.effort, EFFORTS),
            )
            if given not in allowed
        ]
        if self.card_bytes <= 0:
            problems.append(
                f"card memory {self.card_bytes:,} bytes: expected more than 0, for example "
                f"{24 * 2**30:,} for a card of 24 GB"
            )
        if problems:
            raise ConfigurationError(problems)
