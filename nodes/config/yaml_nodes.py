"""The nodes that read and write a whole configuration as a YAML file."""

import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from comfy_api.latest import io

from ...ltxv_train_core.config import SECTIONS, Section, TrainingConfig, build, yaml_file
from ...ltxv_train_core.errors import ConfigurationError, LTXVTrainError, shown
from ...ltxv_train_core.permissions import no_such_path
from ...ltxv_train_core.storage.atomic import sha256_json, write_text
from ...ltxv_train_core.storage.reading import is_regular, read_text
from ..comfy.folders import input_path, runs_folder
from ..comfy.model_files import with_listed_files
from ..comfy.schema import search_aliases
from ..comfy.sockets import CONFIG_CATEGORY, TRAINING_CONFIG
from ..comfy.widget_problems import WidgetProblem, problems_at
from .section_nodes import PATHS

_LARGEST_CONFIG_BYTES = 2**20

logger = logging.getLogger(__name__)

SectionT = TypeVar("SectionT", bound=Section)


class LTXVTrainLoadConfig(io.ComfyNode):
    """Reads a configuration from a YAML file or from text."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="LTXVTrainLoadConfig",
            display_name="Load LTXV Training Config",
            category=CONFIG_CATEGORY,
            description="Loads the settings of a training from a YAML file or from pasted text, "
            "this pack's or one of LTX-Video-Trainer.",
            **search_aliases("yaml", "settings", "preset"),
            inputs=[
                io.String.Input(
                    "file",
                    default="",
                    tooltip="YAML file. A relative path is looked for in ComfyUI's input folder. "
                    "Empty: the text below is read.",
                ),
                io.String.Input(
                    "text",
                    default="",
                    multiline=True,
                    tooltip="The configuration as YAML text, when no file is given.",
                ),
            ],
            outputs=[
                TRAINING_CONFIG.Output(
                    display_name="config",
                    tooltip="The whole configuration, for Train LTXV LoRA or IC-LoRA. Its runs are "
                    "written to ComfyUI's output folder, whatever output_dir says.",
                )
            ],
        )

    @classmethod
    def fingerprint_inputs(cls, file: str | None, text: str | None) -> str:
        """Reads a file again when it has changed."""
        try:
            return sha256_json(_text_of(file or "", text or ""))
        except LTXVTrainError as error:
            return str(error)

    @classmethod
    def widget_problems(cls, written: Mapping[str, object]) -> list[WidgetProblem]:
        """A file that is nowhere, and what is wrong in it."""
        if written.keys() < {"file", "text"}:
            return []
        file, text = str(written["file"]), str(written["text"])
        widget = "file" if file.strip() else "text"
        return problems_at(widget, lambda: cls.read(file, text), written)

    @classmethod
    def read(
        cls, file: str, text: str, tell: Callable[[str], None] = lambda line: None
    ) -> dict[str, Any]:
        """The values of a configuration; paths and models are as they are written.

        Args:
            tell: gets a line for everything in another trainer's file that has no equal here.
        """
        whole = build(TrainingConfig, yaml_file.parse(_text_of(file, text), tell=tell))
        return {name: getattr(whole, name) for name in type(whole).model_fields}

    @classmethod
    def execute(cls, file: str, text: str) -> io.NodeOutput:
        values = cls.read(file, text, logger.warning)
        values |= {name: _located(values[name]) for name in SECTIONS}
        values["model"] = with_listed_files(values["model"])
        return io.NodeOutput(values | {"output_dir": str(runs_folder())})


class LTXVTrainSaveConfig(io.ComfyNode):
    """Writes a configuration as a YAML file into the output folder."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="LTXVTrainSaveConfig",
            display_name="Save LTXV Training Config",
            category=CONFIG_CATEGORY,
            description="Saves the settings of a training as a YAML file in ComfyUI's output "
            "folder, for Load LTXV Training Config, the command line or "
            "LTX-Video-Trainer.",
            **search_aliases("yaml", "settings", "preset"),
            is_output_node=True,
            inputs=[
                TRAINING_CONFIG.Input(
                    "config", tooltip="The configuration, from Join LTXV Training Configuration."
                ),
                io.String.Input(
                    "file_name",
                    default="training_config",
                    tooltip="Name of the file in output/ltxv_train, without .yaml. An existing "
                    "file with other content is not overwritten: the new one gets a number.",
                ),
            ],
            outputs=[
                io.String.Output(display_name="file", tooltip="Path of the file."),
                io.String.Output(display_name="text", tooltip="The configuration as YAML text."),
            ],
        )

    @classmethod
    def widget_problems(cls, written: Mapping[str, object]) -> list[WidgetProblem]:
        """A name that is no file's."""
        name = written.get("file_name")
        return (
            problems_at("file_name", lambda: _require_name(name)) if isinstance(name, str) else []
        )

    @classmethod
    def execute(cls, config: Mapping[str, object], file_name: str) -> io.NodeOutput:
        text = yaml_file.dump(build(TrainingConfig, config))
        file = _free_file(file_name.strip(), text)
        return io.NodeOutput(str(file), text, ui={"text": [str(file)]})


def _text_of(file: str, text: str) -> str:
    """The text of the file, or the pasted text. Exactly one of them must be given."""
    if bool(file.strip()) == bool(text.strip()):
        given = "both are given" if file.strip() else "both are empty"
        raise ConfigurationError([f"file, text: {given}; give one of them"])
    if text.strip():
        return text
    path = input_path(file)
    if not path.exists():
        raise ConfigurationError([f"file: {no_such_path(path)}"])
    try:
        return read_text(path, _LARGEST_CONFIG_BYTES)
    except UnicodeDecodeError:
        raise ConfigurationError([f"file: {path} is not UTF-8 text: save it as UTF-8"]) from None
    except OSError as error:
        raise ConfigurationError([f"file: {path} can't be read ({error.strerror})"]) from None


def _located(section: SectionT) -> SectionT:
    """A section with absolute paths; relative ones are looked for in the input folder."""
    values = {name: getattr(section, name) for name in PATHS & type(section).model_fields.keys()}
    located = {
        name: tuple(str(input_path(path)) for path in value)
        if isinstance(value, tuple)
        else str(input_path(value))
        for name, value in values.items()
        if value is not None
    }
    return section.model_copy(update=located)


def _require_name(name: str) -> None:
    if not name.strip() or Path(name).name != name or "\\" in name:
        raise ConfigurationError([f"{shown(name)}: give a name without folders"])


def _free_file(name: str, text: str) -> Path:
    """Writes the text under the name, or under the first numbered one that is free or the same."""
    _require_name(name)
    number = 1
    while True:
        suffix = "" if number == 1 else f"-{number}"
        file = runs_folder() / f"{name.removesuffix('.yaml')}{suffix}.yaml"
        if not file.exists():
            write_text(file, text)
            return file
        if is_regular(file) and read_text(file, errors="replace") == text:
            return file
        number += 1
