"""Facts that travel in a LoRA file. Nothing of the machine it was trained on, and nothing of the day: no
paths, and the same run gives the same bytes."""

import json
from collections import Counter
from collections.abc import Mapping

from .. import __version__
from ..config import TrainingConfig
from ..config.redact import model_name, shareable
from ..datasets.dataset import TrainingDataset
from ..families.names import VIDEO
from ..families.open import Model
from ..geometry import VideoSize


def lora_metadata(
    config: TrainingConfig,
    source: Model,
    dataset: TrainingDataset,
    graph: Mapping[str, str] | None = None,
) -> dict[str, str]:
    """Metadata of a run's LoRA files, without the step.

    Keys `modelspec.*` follow the Stability AI model metadata standard (sai_model_spec 1.0.0), which
    ComfyUI's model library shows.

    Args:
        graph: the ComfyUI graph that trains it, as `shareable_graph` gives it; written unless
            `checkpoints.embed_workflow` is off.
    """
    base = model_name(config.model.model_source)
    architecture = source.facts.architecture
    if config.model.training_mode == "lora":
        architecture += "/lora"
    size = _usual_size(dataset)
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
        "modelspec.description": _description(config, base, dataset),
        "modelspec.architecture": architecture,
        "modelspec.implementation": "diffusers",
        "modelspec.resolution": f"{size.width}x{size.height}",
    }
    if trigger := str(dataset.index.settings.get("id_token") or ""):
        facts["modelspec.trigger_phrase"] = trigger
    facts |= _reference_facts(config, dataset)
    if graph and config.checkpoints.embed_workflow:
        facts |= graph
    return facts


def _reference_facts(config: TrainingConfig, dataset: TrainingDataset) -> dict[str, str]:
    """How references of videos are to be made: ComfyUI's *Get IC-LoRA Parameters* reads the first; the others are
    ltx-trainer's, where they aren't 1."""
    if VIDEO not in config.conditioning.reference_streams:
        return {}
    scale = dataset.reference_scale
    facts = {"reference_downscale_factor": str(scale.spatial)}
    if scale.spatial > 1:
        facts["reference_spatial_scale_factor"] = str(scale.spatial)
    if scale.temporal > 1:
        facts["reference_temporal_scale_factor"] = str(scale.temporal)
    return facts


def _description(config: TrainingConfig, base: str, dataset: TrainingDataset) -> str:
    kind = "IC-LoRA" if config.conditioning.reference_streams else "LoRA"
    if config.model.training_mode == "full":
        kind = "Transformer"
    return f"{kind} for {base}, trained on {len(dataset)} clips"


def _usual_size(dataset: TrainingDataset) -> VideoSize:
    """The size that most clips have."""
    sizes = [item.size for item in dataset.items if VIDEO in item.streams] or dataset.groups
    return VideoSize.parse(Counter(sizes).most_common(1)[0][0])
