"""The fingerprint that names a run: a digest of everything that its result depends on."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..config import PART_SOURCES, OptimizationConfig, TrainingConfig
from ..storage.atomic import sha256_file, sha256_json

DRAWN_BY_STEP = 1
"""The recipe of runs whose noise was drawn by step and process."""
SOUNDS_LIKE_VIDEOS = 2
"""The recipe of runs whose sounds kept clean what is given of videos: a first frame, a beginning, an end."""
RECIPE = 3
"""Raised when the same configuration gives another result than before. Noise is drawn by sample; a sound has
conditions of its own, as in ltx-trainer, and ComfyUI's first frame says nothing of it."""
_NAMED = 2
"""The last recipe that gives runs another name: what came later changes few of them."""

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
    "model": {"model_source", *PART_SOURCES},  # the identity says it
    "optimization": {
        "max_non_finite_steps",
        "checkpointing_budget",
        "ema_on_host",
        "activations_on_host",
        "early_stopping_patience",  # when a run ends, not what a step of it is
    },
    "acceleration": {
        "compile_with_inductor",
        "compilation_mode",
        "load_text_encoder_in_8bit",
        "load_text_encoder_in_4bit",
        "blocks_to_offload",
        "shard_model",
    },
}


def fingerprint(
    config: TrainingConfig,
    data: str,
    model: str,
    processes: int = 0,
    start: str | None = None,
    one_size: bool = True,
    recipe: int = RECIPE,
    patience: int | None = None,
) -> str:
    """Twelve letters that change when anything changes that the result depends on.

    An option counts only where it isn't the default, so that a new option leaves the names of
    earlier runs alone. Of batch size, accumulation and processes the product counts, the samples of a step:
    however they are spread, the result is the same.

    Args:
        data: the data set's fingerprint. A LoRA to start from counts by its content too.
        model: the base model's identity.
        processes: how many train together. 0 and 1 are the same.
        start: names the run and step that training continues from.
        one_size: whether any clips of the data set can be in one batch. If not, the batch size says which
            are, and counts by itself.
        recipe: that of earlier versions gives the names of their runs.
        patience: counted as an option, as earlier versions did.
    """
    values = _values(config, patience)
    return _digest(values, config, data, model, processes, start, one_size, recipe)


def family(
    config: TrainingConfig,
    data: str,
    model: str,
    processes: int = 0,
    start: str | None = None,
    one_size: bool = True,
    recipe: int = RECIPE,
    patience: int | None = None,
) -> str:
    """The fingerprint without the number of steps: runs of one family can continue one another."""
    values = _values(config, patience)
    values.get("optimization", {}).pop("steps", None)
    return _digest(values, config, data, model, processes, start, one_size, recipe)


def earlier_names(of: Callable[..., str], config: TrainingConfig, *facts: Any) -> tuple[str, ...]:
    """What earlier versions called a run, or its family.

    Args:
        of: `fingerprint` or `family`.
        facts: its other arguments.
    """
    found = [of(config, *facts, recipe=DRAWN_BY_STEP)]
    patience = config.optimization.early_stopping_patience
    if patience is not None:
        found.append(of(config, *facts, patience=patience))
    return tuple(found)


def _digest(
    values: dict[str, Any],
    config: TrainingConfig,
    data: str,
    model: str,
    processes: int,
    start: str | None,
    one_size: bool,
    recipe: int,
) -> str:
    optimization = values.get("optimization", {})
    spread: list[str] = []
    if recipe == DRAWN_BY_STEP:
        spread += [f"{processes} processes"] if processes > 1 else []
    else:
        for option in ("batch_size", "gradient_accumulation_steps"):
            optimization.pop(option, None)
        spread.append(f"{samples_per_step(config.optimization, processes)} samples a step")
        by_batch = config.lora.dropout > 0 or config.flow_matching.compat is not None
        if not one_size or by_batch:  # dropout and conditions are drawn for a whole batch then
            spread.append(f"{config.optimization.batch_size} in a batch")
    values = {section: options for section, options in values.items() if options != {}}
    parts = [min(recipe, _NAMED), values, data, model, *spread]
    parts += [f"from {start}"] if start is not None else []
    return sha256_json(parts)[:_LETTERS]


def samples_per_step(optimization: OptimizationConfig, processes: int) -> int:
    """How many samples one optimizer step sees, in all processes together."""
    return optimization.batch_size * optimization.gradient_accumulation_steps * max(1, processes)


def _values(config: TrainingConfig, patience: int | None) -> dict[str, Any]:
    """Options that the result depends on and that aren't the default, by section."""
    values = config.model_dump(
        mode="json", exclude=_RESULT_DOES_NOT_DEPEND_ON, exclude_defaults=True
    )
    if patience is not None:
        values.setdefault("optimization", {})["early_stopping_patience"] = patience
    if config.model.load_checkpoint is not None:
        # Only here: it imports diffusers.
        from ..lora.initialize import find_start

        first = find_start(Path(config.model.load_checkpoint), config.model.training_mode)
        values["model"]["load_checkpoint"] = sha256_file(first)
    return values
