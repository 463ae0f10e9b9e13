"""What would stop a run, found before anything is loaded."""

from functools import partial

from ... import trackers
from ...config import TrainingConfig, ignored
from ...datasets.dataset import TrainingDataset
from ...datasets.index import data_folder
from ...datasets.of_run import open_dataset
from ...errors import ConfigurationError
from ...events import Notice, Reporter, ignore
from ...models.packages import untested_versions
from ...publish import hub
from ...storage.paths import as_path
from ..preserved_captions import preservation_problems
from .attempts import attempted
from .device import depends_on_device, unavailable
from .model import model_notes, strangers, usable_model
from .paths import lacks_model_paths, missing_paths, require_paths_allowed
from .samples import (
    sampling_notes,
    undecodable,
    unusable_media,
    unusable_prompts,
    unusable_references,
    unusable_with,
)
from .start import unusable_start, unusable_targets, unused_of_start

__all__ = ["check", "missing_paths", "problems", "require_ready"]


def problems(config: TrainingConfig, report: Reporter = ignore) -> list[str]:
    """Every reason why this run can't start, one line each; `missing_paths` are some of them."""
    return [*_wrong_here(config), *_unusable(config, report)[0]]


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
    looks_at_device = strict or depends_on_device(config)
    (found, _), missing = _unusable(config, report), _wrong_here(config, looks_at_device)
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
    require_paths_allowed(config)
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
        *model_notes(config.model.model_source),
        *unused_of_start(config.model),
        *sampling_notes(config.validation, config.model.model_source),
        *hub.upload_remarks(config.hub),
        *trackers.tracker_remarks(config.trackers),
        *untested_versions(),
    ]


def _wrong_here(config: TrainingConfig, looks_at_device: bool = True) -> list[str]:
    """What is missing on this machine, and may be there on another."""
    return [
        *missing_paths(config),
        *(unavailable(config) if looks_at_device else ()),
        *trackers.missing_packages(config.trackers),
        *hub.upload_problems(config.hub),
    ]


def _unusable(config: TrainingConfig, report: Reporter) -> tuple[list[str], TrainingDataset | None]:
    """What can't be followed, or is there and can't be used; and the data set, where it can be opened."""
    found: list[str] = []
    base, data, validation = config.model, config.data, config.validation
    model = dataset = None
    if not lacks_model_paths(base):
        has_samples = bool(validation.prompts and validation.interval)
        encodes = config.optimization.preservation == "differential_output"
        model = attempted(
            lambda: usable_model(base, config.acceleration, has_samples, encodes), found
        )
    if all(data_folder(as_path(root)).exists() for _, root in data.roots):
        dataset = attempted(lambda: open_dataset(config), found)
    if model is not None:
        found += unusable_with(validation, model)
        found += undecodable(config, model)
    if dataset is not None:
        found += unusable_references(validation, dataset)
        found += preservation_problems(config.optimization, dataset)
    if model is not None and dataset is not None:
        allow = data.allow_other_encoders
        for part in dataset.members:
            found += attempted(partial(strangers, part, model, allow), found) or []
    found += [
        *unusable_targets(config),
        *unusable_start(config, report),
        *unusable_media(validation),
        *unusable_prompts(validation),
    ]
    return found, dataset
