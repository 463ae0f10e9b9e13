"""Whether the prompts of a run can be sampled, and how they are."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

from ...config import TrainingConfig, ValidationConfig
from ...datasets.dataset import TrainingDataset
from ...errors import DataError, ModelError
from ...families.family import Sampling
from ...families.model import lacks_decoder
from ...families.names import AUDIO, VAE, VIDEO
from ...families.open import Model, open_model
from ...families.registry import family_named, published_version
from ...families.self_attention import blocks_problem
from ...media.sound import read_sound_file
from ...media.video import probe
from ...models.text_bounds import require_few_characters
from ...storage.paths import as_path
from ..sample_settings import sample_settings
from .attempts import errors
from .paths import exists

_PROBED_RATE, _PROBED_SECONDS = 16000, 0.1


def unusable_media(validation: ValidationConfig) -> list[str]:
    """Validation media that can't be read, or are too short."""
    if not validation.prompts or validation.interval is None:
        return []
    frames = validation.size.frames
    checks: dict[str, Callable[[Path], None]] = {
        "images": partial(_require_frames, frames=1),
        "reference_videos": partial(_require_frames, frames=frames),
        "audios": _require_sound,
        "videos": partial(_require_frames, frames=frames),
        "reference_audios": _require_sound,
    }
    return [
        f"validation.{name}: {problem}"
        for name, require in checks.items()
        for path in getattr(validation, name) or ()
        if exists(path)
        for problem in errors(partial(require, as_path(path)))
    ]


def unusable_with(validation: ValidationConfig, model: Model) -> list[str]:
    """A size or sounds that the model's family doesn't take, and blocks that it doesn't have."""
    problem = model.family.grid.problem(validation.size)
    size = [f"validation.video_dims: {problem}"] if problem else []
    sounds = [
        f"validation.{name}: {model.family.name} has no sound; leave it out"
        for name in ("audios", "reference_audios", "videos")
        if getattr(validation, name) is not None and AUDIO not in model.family.streams
    ]
    return [*size, *sounds, *_missing_blocks(validation, model)]


def undecodable(config: TrainingConfig, model: Model) -> list[str]:
    """A VAE that can't decode, where videos are sampled."""
    seen = config.conditioning.seen_streams
    is_sampled = config.validation.prompts and config.validation.interval is not None
    if not is_sampled or (seen is not None and VIDEO not in seen):
        return []
    problem = lacks_decoder(model.part(VAE)) if VAE in model.parts else None
    return [f"validation.prompts: samples need a decoder. {problem}"] if problem else []


def unusable_references(validation: ValidationConfig, dataset: TrainingDataset) -> list[str]:
    """A size of samples of which reference videos can't be made as those of the data set."""
    if not validation.prompts or VIDEO not in dataset.referenced:
        return []
    grid, scale = family_named(dataset.index.family).grid, dataset.reference_scale
    if scale.latent(grid.latent(validation.size)) is not None:
        return []
    return [
        f"validation.video_dims {validation.size}: the data set's references are {scale.spatial} times smaller and "
        f"have every {scale.temporal}th frame; choose width and height that are multiples of "
        f"{grid.spatial * scale.spatial}, and frames {grid.temporal * scale.temporal}n + 1"
    ]


def unusable_prompts(validation: ValidationConfig) -> list[str]:
    """Prompts that are too long by far; tokens are counted when they are encoded."""
    return [
        f"validation.prompts: {problem}"
        for prompt in (*validation.prompts, validation.negative_prompt)
        for problem in errors(partial(require_few_characters, prompt))
    ]


def sampling_notes(validation: ValidationConfig, model_source: str) -> list[str]:
    """How prompts are sampled, where the model has a say in that."""
    if not validation.prompts:
        return []
    version = published_version(model_source)
    if version is not None:
        sampling: Sampling | None = version.sampling
    elif as_path(model_source).exists():
        try:
            sampling = open_model(model_source).sampling
        except ModelError:
            return []  # reported as a problem
    else:
        return []
    note = sample_settings(validation, sampling).note
    return [] if note is None else [note]


def _missing_blocks(validation: ValidationConfig, model: Model) -> list[str]:
    """Blocks that the model doesn't have, where it is known how many it has."""
    described = model.facts.transformer_config or {}
    if validation.stg_blocks is None or "num_layers" not in described:
        return []
    problem = blocks_problem(validation.stg_blocks, described["num_layers"])
    return [f"validation.stg_blocks: {problem}"] if problem else []


def _require_frames(path: Path, frames: int) -> None:
    found = probe(path).frames
    if found < frames:
        raise DataError(f"{path} has {found} frames, and the samples have {frames}")


def _require_sound(path: Path) -> None:
    read_sound_file(path, _PROBED_RATE, _PROBED_SECONDS)
