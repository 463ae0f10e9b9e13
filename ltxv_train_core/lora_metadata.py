"""Facts that travel in a LoRA file. Nothing of the machine it was trained on: no paths."""

import json
from datetime import datetime, timezone

from . import __version__
from .config import TrainingConfig
from .config.sharing import model_name, shareable
from .data.dataset import TrainingDataset
from .models.source import ModelSource

_ARCHITECTURES = {"lora": "ltx-video/lora", "full": "ltx-video"}


def lora_metadata(
    config: TrainingConfig, source: ModelSource, dataset: TrainingDataset
) -> dict[str, str]:
    """Metadata of a run's LoRA files, without the step.

    Keys `modelspec.*` follow the Stability AI model metadata standard (sai_model_spec 1.0.0).
    """
    base = model_name(config.model.model_source)
    shared = shareable(config).model_dump(mode="json", exclude={"output_dir"})
    facts = {
        "base_model": base,
        "base_model_identity": source.identity,
        "strategy": config.conditioning.mode,
        "training_config": json.dumps(shared, ensure_ascii=False),
        "data_fingerprint": dataset.fingerprint(),
        "trained_with": f"ltxv-train {__version__}",
        "modelspec.sai_model_spec": "1.0.0",
        "modelspec.title": config.name,
        "modelspec.architecture": _ARCHITECTURES[config.model.training_mode],
        "modelspec.implementation": "diffusers",
        "modelspec.date": datetime.now(timezone.utc).date().isoformat(),
    }
    if config.conditioning.mode == "reference_video":
        facts["reference_downscale_factor"] = "1"
    return facts
