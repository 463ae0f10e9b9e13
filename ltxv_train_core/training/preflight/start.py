"""Whether what is trained fits the model: the layers of a LoRA, and the file to start from."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from ...config import LoRAConfig, ModelConfig, TrainingConfig
from ...errors import ConfigurationError, LTXVTrainError
from ...events import Reporter
from ...families.open import describe_model, module_names
from ...lora.targets import chosen_layers
from .attempts import errors
from .paths import exists

if TYPE_CHECKING:
    from ...lora.model_sizes import ModelSizes


def unusable_targets(config: TrainingConfig) -> list[str]:
    """Target modules that match no linear layer, by the names of the model's version, or none that runs."""
    if config.model.training_mode != "lora":
        return []
    found: dict[str, int] = {}
    problems = errors(lambda: found.update(_target_names(config.model.model_source, config.lora)))
    return problems or _idle_targets(config, found)


def _idle_targets(config: TrainingConfig, layers: Iterable[str]) -> list[str]:
    """A line where no layer of a LoRA runs, because the model sees one modality alone: it would learn nothing."""
    seen = config.conditioning.seen_streams
    if seen is None or len(seen) != 1:
        return []
    try:
        family = describe_model(config.model.model_source).family
    except LTXVTrainError:
        return []  # reported as a problem of the model
    (stream,) = seen
    running = family.layers.alone.get(stream)
    if running is None or any(running.match(name) for name in layers):
        return []
    return [
        f"lora.target_modules: none of these layers runs with conditioning.modalities {stream}, so that nothing would "
        f"be learned; choose the preset {stream}, or other modalities"
    ]


def unusable_start(config: TrainingConfig, report: Reporter) -> list[str]:
    """Why the file to start from can't be used."""
    source, start = config.model.model_source, config.model.load_checkpoint
    if start is None or not exists(start):
        return []
    from ...lora.initialize import require_start

    try:
        layers = _target_names(source, config.lora)
    except ConfigurationError:
        layers = None  # reported as a problem of the targets
    return errors(lambda: require_start(config, layers, _sizes(source), report))


def unused_of_start(model: ModelConfig) -> tuple[str, ...]:
    """What of the file to start from isn't used."""
    if model.load_checkpoint is None:
        return ()
    from ...lora.initialize import start_notes

    try:
        return start_notes(model)
    except (LTXVTrainError, OSError):
        return ()  # reported as a problem


def _target_names(model_source: str, lora: LoRAConfig) -> dict[str, int]:
    return chosen_layers(*module_names(model_source), lora)


def _sizes(model_source: str) -> ModelSizes | None:
    """None where they aren't known, or can't be used, which is reported as a problem of the model."""
    from ...lora.model_sizes import ModelSizes

    try:
        found = describe_model(model_source)
        sizes = ModelSizes(found.name, found.config, found.family) if found.config else None
        if sizes:
            sizes.linear_shapes()
    except LTXVTrainError:
        return None
    return sizes
