"""The model card of a run, and its samples as animated WebP files, which a browser plays."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from PIL import Image

from ..config import ModelConfig, TrainingConfig
from ..config.redact import model_name
from ..families.family import Family
from ..families.registry import FAMILIES, published_version
from ..geometry import VideoSize
from ..media.video import probe, read_frames

# The Hub shows them small, and everyone who opens the page loads them.
LONGEST_SIDE_PX = 512
WEBP_QUALITY = 80


@dataclass(frozen=True)
class SampleImage:
    """A sample in the repository: its path there and the prompt it shows."""

    path: str
    prompt: str


def write_sample(video: Path, image: Path) -> None:
    """Writes a sample as an animated webp, at most 512 pixels on its longer side."""
    info = probe(video)
    scale = min(1.0, LONGEST_SIDE_PX / max(info.width, info.height))
    width, height = (max(1, round(side * scale)) for side in (info.width, info.height))
    frames = [Image.fromarray(f) for f in read_frames(video, VideoSize(width, height, info.frames))]
    frames[0].save(
        image,
        format="WEBP",
        save_all=True,
        append_images=frames[1:],
        duration=round(1000 / info.fps),
        loop=0,
        quality=WEBP_QUALITY,
    )


def model_card(
    config: TrainingConfig,
    lora_file: str,
    step: int,
    images: list[SampleImage],
    processes: int = 1,
    family: Family = FAMILIES[0],
) -> str:
    """The README.md of the repository.

    Args:
        family: that the trained model is of.
        lora_file: its name in the repository.
        processes: how many trained it together.
    """
    kind = "IC-LoRA" if config.conditioning.reference_streams else "LoRA"
    if _is_full(config.model):
        kind = "transformer"
    base = _base_model(config.model.model_source)
    return "\n".join(
        [
            "---",
            yaml.safe_dump(_front_matter(config, base, images, family), sort_keys=False).strip(),
            "---",
            "",
            f"# {config.name}",
            "",
            f"{_article(kind)} {kind} for {family.name}, trained on {base}.",
            "",
            *_samples(images),
            "## Use",
            "",
            _use(config, lora_file),
            "",
            "## Training",
            "",
            *_facts(config, step, processes),
            "",
            "The whole configuration is in `training_config.yaml`.",
            "",
        ]
    )


def _is_full(model: ModelConfig) -> bool:
    return model.training_mode == "full"


def _use(config: TrainingConfig, file: str) -> str:
    if _is_full(config.model):
        return f"`{file}` loads in ComfyUI (put it into `models/diffusion_models`)."
    if config.lora.adapter not in ("lora", "rslora"):
        return (
            f"`{file}` loads in ComfyUI (put it into `models/loras`), which reads its {config.lora.adapter}; diffusers "
            "doesn't. Strength 1 is as trained."
        )
    return (
        f"`{file}` loads in ComfyUI (put it into `models/loras`) and in diffusers "
        f'(`pipeline.load_lora_weights(..., weight_name="{file}")`). Strength 1 is as trained.'
    )


def _base_model(model_source: str) -> str:
    """The repository of a version name; of anything else its name."""
    if not model_source.startswith("LTXV_"):
        return model_name(model_source)
    version = published_version(model_source)
    return version.repository if version else model_source


def _front_matter(
    config: TrainingConfig, base: str, images: list[SampleImage], family: Family
) -> dict[str, Any]:
    has_reference = "video" in config.conditioning.reference_streams
    lora = [] if _is_full(config.model) else ["lora", *(["ic-lora"] if has_reference else [])]
    facts: dict[str, Any] = {
        "library_name": "diffusers",
        "pipeline_tag": "video-to-video" if has_reference else "text-to-video",
        "tags": [family.name.lower(), *lora, "ltxv-train"],
    }
    if "/" in base:
        relation = "finetune" if _is_full(config.model) else "adapter"
        facts |= {"base_model": base, "base_model_relation": relation}
    if images:
        facts["widget"] = [{"text": p.prompt, "output": {"url": p.path}} for p in images]
    return facts


def _samples(images: list[SampleImage]) -> list[str]:
    if not images:
        return []
    rows = [f"| {p.prompt.replace('|', chr(92) + '|')} | ![]({p.path}) |" for p in images]
    return ["## Samples", "", "| Prompt | Sample |", "|---|---|", *rows, ""]


def _facts(config: TrainingConfig, step: int, processes: int) -> list[str]:
    optimization = config.optimization
    batch = optimization.batch_size * optimization.gradient_accumulation_steps * processes
    layers = ", ".join(f"`{name}`" for name in config.lora.target_modules)
    adapter = "" if config.lora.adapter == "lora" else f"{config.lora.adapter}, "
    rules = "".join(f"; {rule}" for rule in config.lora.layer_rules)
    lora = f"- {adapter}rank {config.lora.rank}, alpha {config.lora.alpha}, on {layers}{rules}"
    return [
        f"- {step} steps of {batch} samples, learning rate {optimization.learning_rate:g} "
        f"({optimization.scheduler_type}), {optimization.optimizer_type}",
        "- every weight" if _is_full(config.model) else lora,
        f"- conditioning: {config.conditioning.mode}, first frame given with probability "
        f"{config.conditioning.first_frame_conditioning_p:g}",
        f"- seed {config.seed}",
    ]


def _article(word: str) -> str:
    return "An" if word[0] in "AEIOU" else "A"
