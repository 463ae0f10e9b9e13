"""The configuration as a YAML file and as `section.option=value` words."""

from pathlib import Path
from typing import Any

import yaml

from ..errors import ConfigurationError, shown
from ..storage.atomic import write_text
from ..storage.reading import read_text
from . import ltx_trainer, ltx_video_trainer
from .training import TrainingConfig, build
from .yaml_text import LARGEST_YAML_BYTES, read_yaml


def _ignore(line: str) -> None:
    pass


def load(
    path: Path, overrides: list[str] | None = None, tell: ltx_trainer.Tell = _ignore
) -> TrainingConfig:
    """Reads a configuration, ours or one of LTX-Video-Trainer or ltx-trainer.

    Args:
        path: a YAML file.
        overrides: words "section.option=value" that win over the file; values are YAML.
        tell: gets a line for everything in another trainer's file that has no equal here.

    Raises:
        ConfigurationError: with one line for each problem.
    """
    try:
        text = read_text(path, LARGEST_YAML_BYTES)
    except OSError as error:
        raise ConfigurationError([f"{path}: can't be read ({error.strerror})"]) from None
    except UnicodeDecodeError:
        raise ConfigurationError([f"{path}: is not UTF-8 text; save it as UTF-8"]) from None
    return build(TrainingConfig, parse(text, overrides, str(path), tell))


def parse(
    text: str,
    overrides: list[str] | None = None,
    where: str = "configuration",
    tell: ltx_trainer.Tell = _ignore,
) -> dict[str, object]:
    """Reads YAML text into sections of option values, not yet judged.

    Raises:
        ConfigurationError: if it isn't YAML of sections, or an override can't be read.
    """
    document = read_yaml(text, where)
    if document is None:
        document = {}
    if not isinstance(document, dict):
        raise ConfigurationError([f"{where}: expected sections, found {type(document).__name__}"])
    if ltx_trainer.is_one(document):
        document = ltx_trainer.translate(document, tell)
    values = ltx_video_trainer.read(document, read_yaml(ltx_video_trainer.uncommented(text), where))
    for word in overrides or []:
        _override(values, word)
    return ltx_video_trainer.settle(values)


def dump(config: TrainingConfig) -> str:
    """The configuration as plain YAML, which `load` reads back to an equal one.

    LTX-Video-Trainer reads it too; options that it doesn't know stand in comments.
    """
    values = config.model_dump(mode="json")
    defaults = build(TrainingConfig, {"data": {"preprocessed_data_root": "data"}})
    document, own = ltx_video_trainer.write(values, defaults.model_dump(mode="json"))
    return _text(document) + (ltx_video_trainer.commented(_text(own)) if own else "")


def _text(document: dict[str, Any]) -> str:
    text: str = yaml.safe_dump(document, sort_keys=False, allow_unicode=True)
    if len(text.splitlines()) != text.count("\n"):
        # Rare letters that end a line, and with it a comment; not all come back as they are.
        text = yaml.safe_dump(document, sort_keys=False)
    return text


def save(config: TrainingConfig, path: Path) -> None:
    """Writes a configuration as YAML, atomically."""
    write_text(path, dump(config))


def _override(values: dict[str, Any], word: str) -> None:
    where = f"--set {shown(word)}"
    name, equals, text = word.partition("=")
    *sections, last = ltx_video_trainer.canonical(name.strip().split("."))
    if not equals or not last or len(sections) > 3:
        raise ConfigurationError([f"{where}: expected section.option=value"])
    target = values
    for section in sections:
        target = target.setdefault(section, {})
        if not isinstance(target, dict):
            raise ConfigurationError([f"{where}: {section} is not a section"])
    target[last] = read_yaml(text, where)
