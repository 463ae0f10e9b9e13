"""The configuration as a YAML file and as `section.option=value` words."""

from pathlib import Path
from typing import Any

import yaml

from ..errors import ConfigurationError
from ..files import write_text
from . import ltx_video_trainer as other
from .whole import TrainingConfig, build


class _Loader(yaml.SafeLoader):
    """Reads the tags that LTX-Video-Trainer's saved configurations have, and makes no objects."""


def _as_list(loader: yaml.SafeLoader, node: yaml.Node) -> list[Any]:
    assert isinstance(node, yaml.SequenceNode)
    return loader.construct_sequence(node, deep=True)


def _enum_value(loader: yaml.SafeLoader, suffix: str, node: yaml.Node) -> Any:
    arguments = _as_list(loader, node) if isinstance(node, yaml.SequenceNode) else []
    if len(arguments) != 1:
        raise yaml.constructor.ConstructorError(
            None, None, f"can't read a Python object {suffix!r}", node.start_mark
        )
    return arguments[0]


_Loader.add_constructor("tag:yaml.org,2002:python/tuple", _as_list)
_Loader.add_multi_constructor("tag:yaml.org,2002:python/object/apply:ltxv_trainer.", _enum_value)


def load(path: Path, overrides: list[str] | None = None) -> TrainingConfig:
    """Reads a configuration, ours or one of LTX-Video-Trainer.

    Args:
        path: a YAML file.
        overrides: words "section.option=value" that win over the file; values are YAML.

    Raises:
        ConfigurationError: with one line for each problem.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise ConfigurationError([f"{path}: can't be read ({error.strerror})"]) from None
    except UnicodeDecodeError as error:
        raise ConfigurationError([f"{path}: is not UTF-8 text ({error})"]) from None
    return build(TrainingConfig, parse(text, overrides, str(path)))


def parse(
    text: str, overrides: list[str] | None = None, where: str = "configuration"
) -> dict[str, Any]:
    """Reads YAML text into sections of option values, not yet judged.

    Raises:
        ConfigurationError: if it isn't YAML of sections, or an override can't be read.
    """
    try:
        document = yaml.load(text, _Loader) or {}
    except yaml.YAMLError as error:
        raise ConfigurationError([f"{where}: is not YAML ({error})"]) from None
    if not isinstance(document, dict):
        raise ConfigurationError([f"{where}: expected sections, found {type(document).__name__}"])
    values = other.read(document)
    for word in overrides or []:
        _override(values, word)
    return other.settle(values)


def dump(config: TrainingConfig) -> str:
    """The configuration as plain YAML, which `load` reads back to an equal one.

    LTX-Video-Trainer reads it too; options that it doesn't know stand under a key of their own.
    """
    values = config.model_dump(mode="json")
    defaults = build(TrainingConfig, {"data": {"preprocessed_data_root": "data"}})
    document = other.write(values, defaults.model_dump(mode="json"))
    return yaml.safe_dump(document, sort_keys=False, allow_unicode=True)


def save(config: TrainingConfig, path: Path) -> None:
    write_text(path, dump(config))


def _override(values: dict[str, Any], word: str) -> None:
    name, equals, text = word.partition("=")
    *sections, last = other.canonical(name.strip().split("."))
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
