"""What this version can't do yet. Such options are refused by name, never ignored."""

from .whole import TrainingConfig


def unsupported(config: TrainingConfig) -> list[str]:
    """One line for each option whose value this version can't follow."""
    rules = [
        (
            config.model.training_mode == "full",
            "model.training_mode: full is not available yet; use lora",
        ),
    ]
    return [line for refused, line in rules if refused]
