"""The nodes that say the same as a YAML file, for a browser that puts them on its canvas."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from aiohttp import web

from ...ltxv_train_core.config import SECTIONS, Section, options, to_widgets
from .join import LTXVTrainConfig
from .section_nodes import SECTION_NODES
from .yaml_nodes import LTXVTrainLoadConfig

NODES_ROUTE = "/ltxv_train/config/nodes"

_ALWAYS = ("model", "data")
_TYPES = {node.section: node.node_id for node in SECTION_NODES}


def nodes_of_file(request: web.Request, body: Mapping[str, Any]) -> dict[str, Any]:
    """A node for each section that differs from its defaults, and those that join and train them.

    Args:
        body: `file` and `text` as the widgets of Load LTXV Training Config have them.

    Raises:
        ConfigurationError: what is wrong with the file or text.
        NotAllowedError: the file may not be read.
    """
    file, text = (str(body.get(name) or "") for name in ("file", "text"))
    values = LTXVTrainLoadConfig.read(file, text)
    sections = {name: values[name] for name in SECTIONS}
    return {
        "sections": [
            {"section": name, "type": _TYPES[name], "widgets": _widgets(section)}
            for name, section in sections.items()
            if name in _ALWAYS or _differs(section)
        ],
        "join": {
            "type": LTXVTrainConfig.__name__,
            "widgets": {"seed": values["seed"], "name": values["name"]},
        },
        "train": {"type": _train(sections), "widgets": {}},
    }


def _widgets(section: Section) -> dict[str, object]:
    values = to_widgets(section)
    return {
        name: str(value) if isinstance(value, Path) else value for name, value in values.items()
    }


def _differs(section: Section) -> bool:
    defaults = {option.name: option.default for option in options(type(section))}
    return to_widgets(section) != defaults


def _train(sections: Mapping[str, Any]) -> str:
    if sections["model"].training_mode == "full":
        return "LTXVTrainModel"
    is_ic_lora = bool(sections["conditioning"].reference_streams)
    return "LTXVTrainICLoRA" if is_ic_lora else "LTXVTrainLoRA"
