"""Configurations that a command reads, also those of the other system."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ..config import PART_SOURCES, SAMPLE_MEDIA, Section, TrainingConfig, yaml_file
from ..errors import ConfigurationError, shown
from ..storage.paths import as_path, from_either_system, only_of_windows

_PATHS = {
    "model": ("model_source", *PART_SOURCES, "load_checkpoint"),
    "data": ("preprocessed_data_root",),
    "validation": SAMPLE_MEDIA,
}


def load(
    file: Path,
    changes: list[str] | None = None,
    tell: Callable[[str], None] = lambda line: None,
) -> TrainingConfig:
    """A YAML file whose paths may have been written on Windows; as `yaml_file.load` otherwise.

    Raises:
        ConfigurationError: what is wrong with it, all at once.
    """
    config = yaml_file.load(file, changes, tell)
    renewed = {name: _renewed(getattr(config, name), options) for name, options in _PATHS.items()}
    return config.model_copy(update=renewed | {"output_dir": _output_here(config.output_dir)})


def _renewed(section: Section, options: Sequence[str]) -> Section:
    return section.model_copy(update={name: _here(getattr(section, name)) for name in options})


def _output_here(written: str) -> str:
    """A folder that may not be there yet, where a backslash would become part of its name."""
    if os.sep == "\\" or "\\" not in written or os.path.lexists(as_path(written)):
        return written
    if only_of_windows(written):
        raise ConfigurationError(
            [
                f"output_dir {shown(written)}: this is a path of Windows, and this machine runs another system; write "
                "where runs lie here"
            ]
        )
    return written.replace("\\", "/")


def _here(written: Any) -> Any:
    """A path, or several, as this system writes them."""
    if isinstance(written, tuple):
        return tuple(map(_here, written))
    if not isinstance(written, str) or "\\" not in written:
        return written
    return str(from_either_system(as_path(written), Path()))
