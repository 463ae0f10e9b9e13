"""The fingerprint that names a run: a digest of everything that its result depends on."""

from pathlib import Path
from typing import Any

from ..config import TrainingConfig
from ..storage.atomic import sha256_file, sha256_json

RECIPE = 1
"""Raised when the same configuration gives another result than before."""

# 48 bits: two of a million runs meet with a chance of one in 500.
_LETTERS = 12

_RESULT_DOES_NOT_DEPEND_ON: dict[str, Any] = {
    "name": True,
    "output_dir": True,
    "data": True,
    "validation": True,
    "checkpoints": True,
    "hub": True,
    "trackers": True,
    "model": {"model_source", "text_encoder_source", "vae_source"},  # the identity says it
    "optimization": {"max_non_finite_steps"},
    "acceleration": {
        "compile_with_inductor",
        "compilation_mode",
        "load_text_encoder_in_8bit",
        "blocks_to_offload",
    },
}


def fingerprint(
    config: TrainingConfig, data: str, model: str, processes: int = 0, start: str | None = None
) -> str:
    """Twelve letters that change when anything changes that the result depends on.

    An option counts only where it isn't the default, so that a new option leaves the names of
    earlier runs alone.

    Args:
        data: the data set's fingerprint. A LoRA to start from counts by its content too.
        model: the base model's identity.
        processes: how many train together: each has a batch of its own. 0 and 1 are the same.
        start: names the run and step that training continues from.
    """
    return _digest(_values(config), data, model, processes, start)


def family(
    config: TrainingConfig, data: str, model: str, processes: int = 0, start: str | None = None
) -> str:
    """The fingerprint without the number of steps: runs of one family can continue one another."""
    values = _values(config)
    values.get("optimization", {}).pop("steps", None)
    return _digest(values, data, model, processes, start)


def _digest(
    values: dict[str, Any], data: str, model: str, processes: int, start: str | None
) -> str:
    values = {section: options for section, options in values.items() if options != {}}
    parts = [RECIPE, values, data, model]
    parts += [f"{processes} processes"] if processes > 1 else []
    parts += [f"from {start}"] if start is not None else []
    return sha256_json(parts)[:_LETTERS]


def _values(config: TrainingConfig) -> dict[str, Any]:
    """Options that the result depends on and that aren't the default, by section."""
    values = config.model_dump(
        mode="json", exclude=_RESULT_DOES_NOT_DEPEND_ON, exclude_defaults=True
    )
    if config.model.load_checkpoint is not None:
        # Only here: it imports diffusers.
        from ..lora.initialize import find_start

        first = find_start(Path(config.model.load_checkpoint), config.model.training_mode)
        values["model"]["load_checkpoint"] = sha256_file(first)
    return values
