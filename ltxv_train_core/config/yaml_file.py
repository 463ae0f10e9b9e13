"""The configuration as a YAML file and as `section.option=value` words."""

from pathlib import Path
from typing import Any

import yaml

from ..errors import ConfigurationError
from ..files import write_text
from .whole import TrainingConfig, build


def load(path: Path, overrides: list[str] | None = None) -> TrainingConfig:
    """Reads a configuration.

    Args:
        path: a YAML file.
        overrides: words "section.option=value" that win over the file; values are YAML.

    Raises:
        ConfigurationError: with one line for each problem.
    """
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8-sig")) or {}
    except OSError as error:
        raise ConfigurationError([f"{path}: can't be read ({error.strerror})"]) from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigurationError([f"{path}: is not YAML ({error})"]) from None
    if not isinstance(values, dict):
        raise ConfigurationError([f"{path}: expected sections, found {type(values).__name__}"])
    for word in overrides or []:
        _override(values, word)
    return build(TrainingConfig, values)


def dump(config: TrainingConfig) -> str:
    """The configuration as plain YAML, which `load` reads back to an equal one."""
    values = config.model_dump(mode="json")
    return yaml.safe_dump(values, sort_keys=False, allow_unicode=True)


def save(config: TrainingConfig, path: Path) -> None:
    write_text(path, dump(config))


def _override(values: dict[str, Any], word: str) -> None:
    name, equals, text = word.partition("=")
    *sections, last = name.strip().split(".")
    if not equals or not last:
        raise ConfigurationError([f"--set {word!r}: expected section.option=value"])
    target = values
    for section in sections:
        target = target.setdefault(section, {})
        if not isinstance(target, dict):
            raise ConfigurationError([f"--set {word!r}: {section} is not a section"])
    try:
        target[last] = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigurationError([f"--set {word!r}: the value is not YAML ({error})"]) from None
