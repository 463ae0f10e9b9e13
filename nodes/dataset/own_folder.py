"""Preprocess nodes of one graph never write different data sets into one folder: whatever trains would
read the last one, whichever it is connected to."""

from collections.abc import Callable
from typing import Any

from ...ltxv_train_core.config import PreprocessSettings
from ...ltxv_train_core.config.tools.preprocessing import WITHOUT_EFFECT
from ...ltxv_train_core.errors import DataError, LTXVTrainError

_PATHS = frozenset({"dataset_path", "output_dir"})

_ran: dict[str, tuple[Any, PreprocessSettings]] = {}
"""The prompt in which each node ran last, and its settings."""


def require_own_folder(
    prompt: dict[str, Any],
    me: str,
    values: dict[str, Any],
    read: Callable[[dict[str, Any]], PreprocessSettings],
) -> None:
    """Refuses a graph in which another node of my kind writes other data into my folder.

    Args:
        prompt: the graph, as ComfyUI executes it.
        me: id of the node that is about to run.
        values: of its widgets.
        read: makes settings of such values.

    Raises:
        DataError: naming the other node.
    """
    settings = read(values)
    _ran[me] = prompt, settings
    if me not in prompt:
        return
    mine = prompt[me]
    for other, node in prompt.items():
        if other == me or node["class_type"] != mine["class_type"]:
            continue
        inputs = node["inputs"]
        links = {name for name in values.keys() & inputs.keys() if isinstance(inputs[name], list)}
        unknown = {name for name in links if inputs[name] != mine["inputs"].get(name)}
        if other in _ran and _ran[other][0] is prompt:
            others, unknown = _ran[other][1], set()
        elif unknown & _PATHS:
            continue  # that node looks when it runs
        else:
            written = {name: inputs[name] for name in values.keys() & inputs.keys() - links}
            try:
                others = read(values | written)
            except LTXVTrainError:
                continue  # that node says so itself
        encoders = [[each["inputs"].get(name) for name in ("vae", "clip")] for each in (mine, node)]
        same = not unknown and encoders[0] == encoders[1] and _content(others) == _content(settings)
        if others.root == settings.root and not same:
            raise DataError(
                f"node {other} of this graph preprocesses another data set, or with other options, "
                f"into the same folder {settings.root}: give one of the two an output_dir of its own"
            )


def _content(settings: PreprocessSettings) -> dict[str, Any]:
    """What decides what is written."""
    return settings.model_dump(exclude=set(WITHOUT_EFFECT | {"output_dir"}))
