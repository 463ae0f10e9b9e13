"""What nodes say of themselves: labels in words, and what only newer versions of ComfyUI know.

0.3.64 refuses `search_aliases`; there they are left out.
"""

import inspect
from typing import Any

from comfy_api.latest import io

from ...ltxv_train_core.config.labels import label

_KNOWS_ALIASES = "search_aliases" in inspect.signature(io.Schema).parameters

_WIDGETS = {"BOOLEAN", "COMBO", "FLOAT", "INT", "STRING"}


def advanced(item: io.Input) -> io.Input:
    """Shows an input only on demand. As a setting, because 0.3.64 has no argument for it; its interface
    takes it all the same."""
    item.extra_dict = {**item.extra_dict, "advanced": True}
    return item


def search_aliases(*words: str) -> dict[str, Any]:
    """The argument of a schema with other words by which its node is found."""
    return {"search_aliases": list(words)} if _KNOWS_ALIASES else {}


def label_widgets(node: type[io.ComfyNode]) -> None:
    """Gives the widgets of a node labels in words.

    Sockets get theirs from the locales alone: the interface would show what is given here also in
    other languages.
    """
    define = node.define_schema.__func__

    def labelled(cls: type[io.ComfyNode]) -> io.Schema:
        schema: io.Schema = define(cls)
        for item in schema.inputs:
            if item.io_type in _WIDGETS:
                item.display_name = label(item.id)
        return schema

    node.define_schema = classmethod(labelled)
