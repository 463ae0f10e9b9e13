"""A configuration that may leave the machine: no folders, no user names."""

from pathlib import PurePath, PureWindowsPath

from .sections.hub import HubConfig
from .sections.validation import SAMPLE_MEDIA
from .training import TrainingConfig


def shareable(config: TrainingConfig) -> TrainingConfig:
    """The configuration with names in the place of local paths, and without accounts."""
    model, validation = config.model, config.validation
    start, prior = model.load_checkpoint, config.data.prior_data_root
    changes = {
        "model": model.model_copy(
            update={
                "model_source": model_name(model.model_source),
                "load_checkpoint": None if start is None else _last_part(start),
                **{
                    name: None if source is None else model_name(source)
                    for name, source in model.part_sources().items()
                },
            }
        ),
        "data": config.data.model_copy(
            update={
                "preprocessed_data_root": _data_name(config.data.preprocessed_data_root),
                "prior_data_root": _data_name(prior) if prior else None,
                "more_data_sets": tuple(
                    line.at(_data_name(line.root)).written for line in config.data.further
                ),
            }
        ),
        "validation": validation.model_copy(
            update={
                **{name: _last_parts(getattr(validation, name)) for name in SAMPLE_MEDIA},
            }
        ),
        "hub": HubConfig(),
        "trackers": config.trackers.model_copy(update={"entity": None}),
        "output_dir": TrainingConfig.model_fields["output_dir"].default,
    }
    return config.model_copy(update=changes)


def model_name(model_source: str) -> str:
    """A repository or version as it is; of a local path only its last part."""
    return _last_part(model_source) if is_path(model_source) else model_source


def is_path(model_source: str) -> bool:
    """Whether a model is named by a path, and can be no version or repository."""
    path = PurePath(model_source)
    return (
        path.is_absolute()
        or model_source.startswith((".", "~"))
        or "\\" in model_source
        or len(path.parts) > 2
        or path.suffix in (".safetensors", ".sft", ".gguf")
    )


def _last_part(path: str) -> str:
    return PureWindowsPath(path).name or "data"


def _data_name(path: str) -> str:
    """A data set may be given by its index, whose name says less than its folder's."""
    given = PureWindowsPath(path)
    return _last_part(str(given.parent if given.suffix == ".json" else given))


def _last_parts(paths: tuple[str, ...] | None) -> tuple[str, ...] | None:
    return None if paths is None else tuple(_last_part(path) for path in paths)
