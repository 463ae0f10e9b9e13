"""Samples of a LoRA at several strengths, beside one another, with or without a second LoRA."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ..config import TrainingConfig, build
from ..errors import ConfigurationError
from ..events import NeverStop, Reporter, StopSignal, ignore
from ..families.base import Denoiser
from ..families.model import Model
from ..lora.file import add_trained_lora
from ..media.sheet import contact_sheet
from ..media.texts import no_graph, png_texts
from ..media.video import iterate_frames
from ..models.device import default_device, free_memory
from ..models.precision import autocast, base_dtype
from ..permissions import policy
from ..storage.atomic import atomic_path
from .preflight.paths import require_paths_allowed
from .run_plan import open_source
from .validation import Validator

_SHEET = "sheet.png"


class AddedLoRA(NamedTuple):
    """A LoRA that stays as it is while another one's strength changes."""

    path: Path
    strength: float


def sample_strengths(
    config: TrainingConfig,
    lora_file: Path,
    strengths: Sequence[float],
    output: Path,
    added: Sequence[AddedLoRA] = (),
    report: Reporter = ignore,
    stop: StopSignal | None = None,
    graph: Mapping[str, str] | None = None,
) -> Path:
    """Samples `validation.prompts` once for each strength, always with the same noise.

    The base is loaded anew for each: sums of strengths would be rounded to its number format.

    Args:
        config: of the model, and of the samples.
        output: gets a folder of videos for each strength, and the sheet.
        graph: the ComfyUI graph that samples, as `shareable_graph` gives it.

    Returns:
        the sheet: a row for each prompt and strength.

    Raises:
        LTXVTrainError: the configuration has no prompts, a strength is no number, or a LoRA doesn't fit the model.
        Cancelled: when it was stopped.
    """
    policy().require_write(output)
    require_paths_allowed(config)
    for path in (lora_file, *(each.path for each in added)):
        policy().require_read(path)
    _require_usable(config, strengths, added)
    device = default_device()
    source = open_source(config, report, stop)
    if source.facts.is_fp8:
        raise ConfigurationError(
            [
                f"model.model_source: {source.name} is stored in fp8, which no LoRA can be added to; take a bf16 file"
            ]
        )
    validator = Validator.prepare(config, source, device, asked=True)
    assert validator is not None, "there are prompts"
    texts = graph or no_graph("it was sampled on the command line")
    videos = []
    for strength in strengths:
        denoiser = _with_loras(config, source, [AddedLoRA(lora_file, strength), *added])
        denoiser.transformer.to(device).eval()
        folder = output / f"strength-{strength:g}"
        with autocast(config.acceleration.mixed_precision_mode, device):
            latents = validator.latents(denoiser, report, stop or NeverStop())
            videos.append(validator.write(latents, 0, folder, report, texts).videos)
        del denoiser
        free_memory()
    return _write_sheet(config, strengths, videos, output / _SHEET, texts)


def with_prompts(config: TrainingConfig, prompts: Sequence[str]) -> TrainingConfig:
    """The same with other prompts to sample. Raises `ConfigurationError` where it has media for others."""
    values = config.model_dump()
    values["validation"]["prompts"] = tuple(prompts)
    return build(TrainingConfig, values)


def _require_usable(
    config: TrainingConfig, strengths: Sequence[float], added: Sequence[AddedLoRA]
) -> None:
    found = []
    if not config.validation.prompts:
        found.append("validation.prompts: there are none to sample; give one")
    if not strengths:
        found.append("strengths: give one or more, for example 0.4 0.8 1.2")
    if len({f"{each:g}" for each in strengths}) < len(strengths):
        found.append("strengths: one is given twice")
    found += [
        f"strength {each}: give a number, for example 1"
        for each in (*strengths, *(one.strength for one in added))
        if not math.isfinite(each)
    ]
    if found:
        raise ConfigurationError(found)


def _with_loras(config: TrainingConfig, source: Model, loras: Sequence[AddedLoRA]) -> Denoiser:
    transformer = source.load_transformer(base_dtype(config.acceleration.mixed_precision_mode))
    for each in loras:
        add_trained_lora(transformer, each.path, each.strength)
    return source.transformer.denoiser(transformer)


def _write_sheet(
    config: TrainingConfig,
    strengths: Sequence[float],
    videos: Sequence[Sequence[Path]],
    sheet: Path,
    texts: Mapping[str, str],
) -> Path:
    """A row for each video, those of one prompt under one another."""
    wanted = config.validation
    prompts = [p for p in wanted.prompts for _ in range(wanted.videos_per_prompt)]
    rows, labels = [], []
    for number, prompt in enumerate(prompts):
        for strength, of_strength in zip(strengths, videos, strict=True):
            rows.append([np.stack(list(iterate_frames(of_strength[number])))])
            labels.append(f"{strength:g}: {prompt}")
    drawn = contact_sheet(rows, labels)
    with atomic_path(sheet) as temporary:
        drawn.save(temporary, format="PNG", pnginfo=png_texts(texts))
    return sheet
