"""What would stop a run, found before anything is loaded."""

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from .. import trackers
from ..config import PART_SOURCES, TrainingConfig, ValidationConfig, ignored
from ..config.redact import is_path
from ..datasets import encoded_with
from ..datasets.dataset import TrainingDataset
from ..datasets.index import data_folder
from ..errors import ConfigurationError, DataError, LTXVTrainError, ModelError
from ..events import Notice, Reporter, ignore
from ..families.family import Sampling
from ..families.names import TEXT_ENCODER, TRANSFORMER
from ..families.open import (
    Model,
    describe_model,
    module_names,
    must_be_downloaded,
    open_model,
)
from ..families.registry import published_version
from ..families.self_attention import blocks_problem
from ..lora.initialize import require_start, start_notes
from ..lora.model_sizes import ModelSizes
from ..lora.targets import match_names
from ..media.video import probe
from ..models.device import default_device
from ..models.packages import untested_versions
from ..models.sources.allowed import require_allowed
from ..models.text_bounds import require_few_characters
from ..permissions import no_such_path, policy
from ..publish import hub
from ..storage.paths import as_path
from ..strategies import STRATEGIES
from .capabilities import unavailable_here
from .sample_settings import sample_settings

T = TypeVar("T")

_SOURCES = ("model_source", *PART_SOURCES)


def problems(config: TrainingConfig, report: Reporter = ignore) -> list[str]:
    """Every reason why this run can't start, one line each; `missing_paths` are some of them."""
    return [*_wrong_here(config), *_unusable(config, report)[0]]


def missing_paths(config: TrainingConfig) -> list[str]:
    """Paths of the configuration that don't exist on this machine."""
    return [
        f"{name}: {no_such_path(as_path(path), 'file or folder')}"
        for name, path in _paths(config)
        if not _exists(path)
    ]


def check(
    config: TrainingConfig, strict: bool = False, report: Reporter = ignore
) -> tuple[list[str], list[str]]:
    """What is wrong with a configuration, and what the user should know of it.

    Args:
        strict: take what this machine lacks (a path, a library, a login, a device that can follow
            an option) for a problem, as a run here does.
        report: gets how much of a large file has been read.

    Returns:
        problems and warnings, one line each.
    """
    (found, _), missing = _unusable(config, report), _wrong_here(config)
    problems, warnings = ([*missing, *found], []) if strict else (found, missing)
    return problems, [*warnings, *_remarks(config)]


def require_ready(config: TrainingConfig, report: Reporter = ignore) -> TrainingDataset:
    """Looks at everything that a run needs; reports options that will not be used.

    Returns:
        the data set, which was opened for that.

    Raises:
        NotAllowedError: something may not be read or downloaded; nothing was opened then.
        ConfigurationError: with every problem.
    """
    _require_allowed(config)
    found, dataset = _unusable(config, report)
    found = [*_wrong_here(config), *found]
    if found or dataset is None:
        raise ConfigurationError(found)
    for line in _remarks(config):
        report(Notice(line))
    return dataset


def _remarks(config: TrainingConfig) -> list[str]:
    """What stops nothing and should be known."""
    return [
        *ignored(config),
        *_model_notes(config.model.model_source),
        *_unused_of_start(config),
        *_sampling_notes(config),
        *hub.upload_remarks(config.hub),
        *trackers.tracker_remarks(config.trackers),
        *untested_versions(),
    ]


def _model_notes(model_source: str) -> list[str]:
    if not as_path(model_source).is_file():
        return []
    try:
        facts = open_model(model_source).facts
    except ModelError:
        return []  # reported as a problem
    return [f"model.model_source: {note}" for note in facts.notes]


def _sampling_notes(config: TrainingConfig) -> list[str]:
    """How prompts are sampled, where the model has a say in that."""
    source, validation = config.model.model_source, config.validation
    if not validation.prompts:
        return []
    version = published_version(source)
    if version is not None:
        sampling: Sampling | None = version.sampling
    elif as_path(source).exists():
        try:
            sampling = open_model(source).sampling
        except ModelError:
            return []  # reported as a problem
    else:
        return []
    note = sample_settings(validation, sampling).note
    return [] if note is None else [note]


def _wrong_here(config: TrainingConfig) -> list[str]:
    """What is missing on this machine, and may be there on another."""
    return [
        *missing_paths(config),
        *_unavailable(config),
        *trackers.missing_packages(config.trackers),
        *hub.upload_problems(config.hub),
    ]


def _unavailable(config: TrainingConfig) -> list[str]:
    try:
        return unavailable_here(config, default_device())
    except ConfigurationError as error:
        return error.problems


def _unusable(config: TrainingConfig, report: Reporter) -> tuple[list[str], TrainingDataset | None]:
    """What can't be followed, or is there and can't be used; and the data set, where it can be opened."""
    found: list[str] = []
    model = dataset = None
    if not _missing_model_paths(config):
        model = _attempt(lambda: _usable_model(config), found)
    if data_folder(as_path(config.data.preprocessed_data_root)).exists():
        strategy = STRATEGIES[config.conditioning.mode]
        dataset = _attempt(lambda: strategy.open_data(config), found)
    if model is not None:
        found += _off_the_grid(config.validation, model)
        found += _missing_blocks(config.validation, model)
    if model is not None and dataset is not None:
        found += _attempt(lambda: _strangers(config, dataset, model), found) or []
    found += [
        *_unusable_targets(config),
        *_unusable_start(config, report),
        *_unusable_media(config.validation),
        *_unusable_prompts(config.validation),
    ]
    return found, dataset


def _paths(config: TrainingConfig) -> Iterator[tuple[str, str]]:
    """The paths that a run reads, by option."""
    model, validation = config.model, config.validation
    for name in _SOURCES:
        source = getattr(model, name)
        if source is not None and is_path(source):
            yield f"model.{name}", source
    if model.load_checkpoint is not None:
        yield "model.load_checkpoint", model.load_checkpoint
    yield (
        "data.preprocessed_data_root",
        str(data_folder(as_path(config.data.preprocessed_data_root))),
    )
    if validation.prompts and validation.interval is not None:
        for name in ("images", "reference_videos"):
            for path in getattr(validation, name) or ():
                yield f"validation.{name}", path


def _require_allowed(config: TrainingConfig) -> None:
    """Everything that it names, whether or not this run reads it: samples may be asked for later."""
    model, validation = config.model, config.validation
    require_allowed(getattr(model, name) for name in _SOURCES)
    media = (*(validation.images or ()), *(validation.reference_videos or ()))
    for path in (model.load_checkpoint, *media):
        if path is not None:
            policy().require_read(as_path(path))
    policy().require_read(data_folder(as_path(config.data.preprocessed_data_root)))


def _exists(path: str) -> bool:
    return as_path(path).exists()


def _unusable_targets(config: TrainingConfig) -> list[str]:
    """Target modules that match no linear layer, by the names of the model's version."""
    if config.model.training_mode != "lora":
        return []
    return _errors(lambda: _target_names(config))


def _target_names(config: TrainingConfig) -> list[str]:
    return match_names(*module_names(config.model.model_source), config.lora.target_modules)


def _sizes(config: TrainingConfig) -> ModelSizes | None:
    """None where they aren't known, or can't be used, which is reported as a problem of the model."""
    try:
        found = describe_model(config.model.model_source)
        sizes = ModelSizes(found.name, found.config, found.family) if found.config else None
        if sizes:
            sizes.linear_shapes()
    except LTXVTrainError:
        return None
    return sizes


def _unusable_start(config: TrainingConfig, report: Reporter) -> list[str]:
    start = config.model.load_checkpoint
    if start is None or not _exists(start):
        return []
    try:
        layers = _target_names(config)
    except ConfigurationError:
        layers = None  # reported as a problem of the targets
    return _errors(lambda: require_start(config, layers, _sizes(config), report))


def _unused_of_start(config: TrainingConfig) -> tuple[str, ...]:
    try:
        return start_notes(config.model)
    except (LTXVTrainError, OSError):
        return ()  # reported as a problem


def _unusable_media(validation: ValidationConfig) -> list[str]:
    """Validation images and reference videos that can't be read, or are too short."""
    if not validation.prompts or validation.interval is None:
        return []
    return [
        f"validation.{name}: {problem}"
        for name, frames in (("images", 1), ("reference_videos", validation.size.frames))
        for path in getattr(validation, name) or ()
        if _exists(path)
        for problem in _errors(partial(_require_frames, as_path(path), frames))
    ]


def _off_the_grid(validation: ValidationConfig, model: Model) -> list[str]:
    """A size of samples that the model's family doesn't take."""
    problem = model.family.grid.problem(validation.size)
    return [f"validation.video_dims: {problem}"] if problem else []


def _missing_blocks(validation: ValidationConfig, model: Model) -> list[str]:
    """Blocks that the model doesn't have, where it is known how many it has."""
    described = model.facts.transformer_config or {}
    if validation.stg_blocks is None or "num_layers" not in described:
        return []
    problem = blocks_problem(validation.stg_blocks, described["num_layers"])
    return [f"validation.stg_blocks: {problem}"] if problem else []


def _unusable_prompts(validation: ValidationConfig) -> list[str]:
    """Prompts that are too long by far; tokens are counted when they are encoded."""
    return [
        f"validation.prompts: {problem}"
        for prompt in (*validation.prompts, validation.negative_prompt)
        for problem in _errors(partial(require_few_characters, prompt))
    ]


def _require_frames(path: Path, frames: int) -> None:
    found = probe(path).frames
    if found < frames:
        raise DataError(f"{path} has {found} frames, and the samples have {frames}")


def _missing_model_paths(config: TrainingConfig) -> bool:
    sources = [getattr(config.model, name) for name in _SOURCES]
    return any(s is not None and is_path(s) and not _exists(s) for s in sources)


def _usable_model(config: TrainingConfig) -> Model | None:
    """Looks at a model's parts, those that this run needs, without downloading or loading them.

    Returns:
        the model, None where it must be downloaded first.

    Raises:
        LTXVTrainError: it can't be used.
    """
    model, samples = config.model, bool(config.validation.prompts and config.validation.interval)
    if must_be_downloaded(model.model_source):
        return None
    source = open_model(model.model_source, report=ignore, stop=None, **model.part_sources())
    source.require(TRANSFORMER)
    _require_whole_weights(config, source)
    if samples:
        streams = source.family.streams.values()
        source.require(*dict.fromkeys(stream.encoder for stream in streams), TEXT_ENCODER)
    return source


def _strangers(config: TrainingConfig, dataset: TrainingDataset, model: Model) -> list[str]:
    """What of a data set and a model doesn't belong together."""
    if found := encoded_with.other_family(dataset, model):
        return found
    found = encoded_with.other_width(dataset, model)
    if config.data.allow_other_encoders:
        return found
    return [*found, *encoded_with.differences(dataset, model)]


def _require_whole_weights(config: TrainingConfig, source: Model) -> None:
    """Raises `ConfigurationError` for options that a base in 8 bit floating point can't follow."""
    wishes = [
        (config.acceleration.quantization is not None, "acceleration.quantization", "choose none"),
        (config.model.training_mode == "full", "model.training_mode", "train a LoRA"),
    ]
    found = [
        f"{option}: {source.name} is stored in fp8 already; {instead}, or take a bf16 file"
        for wished, option, instead in wishes
        if wished and source.facts.is_fp8
    ]
    if found:
        raise ConfigurationError(found)


def _errors(attempt: Callable[[], Any]) -> list[str]:
    found: list[str] = []
    _attempt(attempt, found)
    return found


def _attempt(attempt: Callable[[], T], found: list[str]) -> T | None:
    """What an attempt gives; where it fails, the reason is added to what was found."""
    try:
        return attempt()
    except LTXVTrainError as error:
        line = str(error)
        found.append(f"model.{line}" if line.startswith(_SOURCES) else line)
        return None
