"""A ComfyUI graph that may leave the machine: no folders, no accounts, no tokens."""

import json
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from .base import Section
from .sections.hub import HubConfig
from .sections.trackers import TrackersConfig
from .widgets import options

MOST_GRAPH_BYTES = 2 * 1024 * 1024
"""ComfyUI's interface reads 4 MiB of a dropped file; the names of the weights need room as well."""

_ACCOUNTS: dict[str, tuple[type[Section], set[str]]] = {
    "LTXVTrainHubConfig": (HubConfig, {"hub_model_id"}),
    "LTXVTrainTrackersConfig": (TrackersConfig, {"entity"}),
}
_ACCOUNT_LINE = re.compile(r"\b(hub_model_id|entity)(\s*:\s*)(?!null\b)[^\s][^\n]*")
_TOKEN = re.compile(r"\bhf_[A-Za-z0-9]{16,}")

_PART = r"[^\s/\\\"'<>|*?:;,()\[\]{}]+"
_ROOT = r"(?:file://|(?<![\w.:/\\~-]))(?:~|(?<![A-Za-z])[A-Za-z]:|\\)?[/\\]"
_FOLDER = rf"{_PART}(?: +{_PART})*[/\\]+"
_PATH_IN_TEXT = re.compile(rf"{_ROOT}(?:{_FOLDER})+({_PART})?")
_PATH_ALONE = re.compile(r"(?:file://)?(?:~|[A-Za-z]:|\\)?[/\\][^\n]*")


def shareable_graph(
    workflow: object,
    prompt: object,
    folders: Iterable[str] = (),
    most_bytes: int = MOST_GRAPH_BYTES,
) -> dict[str, str]:
    """The metadata that ComfyUI's interface opens as a graph.

    Paths below `folders` become relative to them; of any other path the name alone stays.

    Args:
        workflow: the graph as the interface saves it, or None.
        prompt: the graph in the API format, or None.
        folders: absolute paths of ComfyUI's folders.
        most_bytes: a longer graph is dropped, the prompt first.
    """
    clean = _cleaner(sorted(folders, key=len, reverse=True))
    graphs = {"workflow": workflow, "prompt": prompt}
    texts = {
        name: json.dumps(_shared(graph, clean), ensure_ascii=False)
        for name, graph in graphs.items()
        if graph
    }
    while sum(len(text.encode("utf-8")) for text in texts.values()) > most_bytes:
        texts.popitem()
    return texts


def _shared(value: Any, clean: Callable[[str], str]) -> Any:
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, list):
        return [_shared(item, clean) for item in value]
    if isinstance(value, Mapping):
        node = {key: _shared(item, clean) for key, item in value.items()}
        return _without_accounts(node)
    return value


def _without_accounts(node: dict[str, Any]) -> dict[str, Any]:
    """A node of either format with an empty text in the place of a user's name."""
    kind = node.get("class_type") or node.get("type")
    if not isinstance(kind, str) or kind not in _ACCOUNTS:
        return node
    section, private = _ACCOUNTS[kind]
    inputs, values = node.get("inputs"), node.get("widgets_values")
    if isinstance(inputs, dict):
        node["inputs"] = {k: "" if k in private else v for k, v in inputs.items()}
    if isinstance(values, list):
        names = [option.name for option in options(section)]
        node["widgets_values"] = [
            "" if number < len(names) and names[number] in private else value
            for number, value in enumerate(values)
        ]
    return node


def _cleaner(folders: list[str]) -> Callable[[str], str]:
    ours = [re.compile(rf"(?<![\w.~-]){re.escape(folder)}[/\\]") for folder in folders]

    def clean(text: str) -> str:
        text = _TOKEN.sub("", _ACCOUNT_LINE.sub(r"\1\2null", text))
        for folder in ours:
            text = folder.sub("", text)
        return "\n".join(map(_without_path, text.split("\n")))

    return clean


def _without_path(line: str) -> str:
    if _PATH_ALONE.fullmatch(line.strip()) and len(re.split(r"[/\\]", line.strip())) > 2:
        return _name(line.strip())
    return _PATH_IN_TEXT.sub(lambda match: _name(match[0]), line)


def _name(path: str) -> str:
    return re.split(r"[/\\]+", path.rstrip("/\\"))[-1]
