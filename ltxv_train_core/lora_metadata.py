"""Facts that travel in a LoRA file. Nothing of the machine it was trained on: no paths."""

import json
from datetime import datetime, timezone
from pathlib import PurePath
from typing import Any

from . import __version__
from .config import TrainingConfig
from .data.dataset import TrainingDataset
from .models.source import ModelSource


def lora_metadata(
    config: TrainingConfig, source: ModelSource, dataset: TrainingDataset
) -> dict[str, str]:
    """Metadata of a run's LoRA files, without the step.

    Keys `modelspec.*` follow the Stability AI model metadata standard (sai_model_spec 1.0.0).
    """
    base = _name_only(config.model.model_source)
    facts = {
        "base_model": base,
        "base_model_identity": source.identity,
        "strategy": config.conditioning.mode,
        "training_config": json.dumps(_without_paths(config), ensure_ascii=False),
        "data_fingerprint": dataset.fingerprint(),
        "trained_with": f"ltxv-train {__version__}",
        "modelspec.sai_model_spec": "1.0.0",
        "modelspec.title": config.name,
        "modelspec.architecture": "ltx-video/lora",
        "modelspec.implementation": "diffusers",
        "modelspec.date": datetime.now(timezone.utc).date().isoformat(),
    }
    if config.conditioning.mode == "reference_video":
        facts["reference_downscale_factor"] = "1"
    return facts


def _without_paths(config: TrainingConfig) -> dict[str, Any]:
    values = config.model_dump(mode="json", exclude={"output_dir"})
    values["model"]["model_source"] = _name_only(config.model.model_source)
    values["data"]["preprocessed_data_root"] = PurePath(config.data.preprocessed_data_root).name
    references = values["validation"]["reference_videos"]
    if references is not None:
        values["validation"]["reference_videos"] = [PurePath(path).name for path in references]
    return values


def _name_only(model_source: str) -> str:
    """A repository or version as it is; of a local path only its last part."""
    path = PurePath(model_source)
    is_local = path.is_absolute() or len(path.parts) > 2 or "\\" in model_source
    return path.name if is_local else model_source
