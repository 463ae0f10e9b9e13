"""What may be asked of a recipe, by its names. No torch."""

from typing import Literal, TypeAlias, get_args

Goal: TypeAlias = Literal["style", "character", "motion", "ic-lora", "full"]
Effort: TypeAlias = Literal["draft", "normal", "thorough"]
GOALS: tuple[Goal, ...] = get_args(Goal)
EFFORTS: tuple[Effort, ...] = get_args(Effort)

CARDS_GB = (8, 10, 12, 16, 24, 32, 40, 48, 80)
"""Memory of usual cards; a card's GB is a GiB."""
