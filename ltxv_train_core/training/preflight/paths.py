"""The paths that a configuration names."""

from collections.abc import Iterator

from ...config import PART_SOURCES, SAMPLE_MEDIA, ModelConfig, TrainingConfig, ValidationConfig
from ...config.redact import is_path
from ...datasets.index import data_folder
from ...models.sources.allowed import require_allowed
from ...permissions import no_such_path, policy
from ...storage.paths import as_path

SOURCES = ("model_source", *PART_SOURCES)


def missing_paths(config: TrainingConfig) -> list[str]:
    """Paths of the configuration that don't exist on this machine."""
    found = (
        *_model_paths(config.model),
        *_data(config),
        *_sample_paths(config.validation),
    )
    return [
        f"{name}: {no_such_path(as_path(path), 'file or folder')}"
        for name, path in found
        if not exists(path)
    ]


def lacks_model_paths(model: ModelConfig) -> bool:
    """Whether a file or folder of the model itself is missing."""
    sources = [getattr(model, name) for name in SOURCES]
    return any(s is not None and is_path(s) and not exists(s) for s in sources)


def require_paths_allowed(config: TrainingConfig) -> None:
    """Everything that it names, whether or not this run reads it: samples may be asked for later.

    Raises:
        NotAllowedError: something may not be read or downloaded.
    """
    model, validation = config.model, config.validation
    require_allowed(getattr(model, name) for name in SOURCES)
    media = [path for name in SAMPLE_MEDIA for path in getattr(validation, name) or ()]
    for path in (model.load_checkpoint, *media):
        if path is not None:
            policy().require_read(as_path(path))
    for _, folder in _data(config):
        policy().require_read(as_path(folder))


def exists(path: str) -> bool:
    return as_path(path).exists()


def _data(config: TrainingConfig) -> Iterator[tuple[str, str]]:
    for name, root in config.data.roots:
        yield f"data.{name}", str(data_folder(as_path(root)))


def _model_paths(model: ModelConfig) -> Iterator[tuple[str, str]]:
    for name in SOURCES:
        source = getattr(model, name)
        if source is not None and is_path(source):
            yield f"model.{name}", source
    if model.load_checkpoint is not None:
        yield "model.load_checkpoint", model.load_checkpoint


def _sample_paths(validation: ValidationConfig) -> Iterator[tuple[str, str]]:
    """Those that samples need, where some are due."""
    if validation.prompts and validation.interval is not None:
        for name in SAMPLE_MEDIA:
            for path in getattr(validation, name) or ():
                yield f"validation.{name}", path
