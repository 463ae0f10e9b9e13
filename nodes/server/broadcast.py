"""Sends run events to browsers as `ltxv_train.progress` messages.

`data` holds `kind` (the event's name), its fields, `node` (id of the node that shows it, or null),
`graph` (id of that node's workflow, where it has one), and for a run `run` (its name). Files are given
as parameters of ComfyUI's /view route. docs/rest.md lists the kinds.
"""

import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import folder_paths
from server import PromptServer

from ...ltxv_train_core.events import Event, RunStatusChanged

EVENT_NAME = "ltxv_train.progress"

_KINDS: dict[type, str] = {RunStatusChanged: "RunMoved"}
"""Kinds that programs know by another name than the class has."""


@dataclass(frozen=True)
class NodeLocation:
    """Where a node is on a canvas.

    Attributes:
        node: its id; "3:2" is node 2 inside of the subgraph node 3.
        graph: id of the workflow. None for a prompt without one, and where only the browser is told
            that queued it.
    """

    node: str
    graph: str | None = None

    @classmethod
    def of(cls, hidden: Any) -> "NodeLocation":
        """Locates the node that executes, from its hidden unique_id and extra_pnginfo."""
        extra = hidden.extra_pnginfo
        workflow = extra.get("workflow") if isinstance(extra, dict) else None
        return cls(hidden.unique_id, workflow.get("id") if isinstance(workflow, dict) else None)


def broadcast_event(event: Event, place: NodeLocation | None, run: str | None = None) -> None:
    """Sends an event of a run to every browser, any other event to the one that queued the prompt.

    May be called from any thread.
    """
    server = PromptServer.instance
    where = {"node": place.node, "graph": place.graph} if place else {"node": None, "graph": None}
    data = {**where, "run": run, "kind": _kind(event), **_fields(event)}
    server.send_sync(EVENT_NAME, data, None if run else server.client_id)


def _kind(event: Event) -> str:
    return _KINDS.get(type(event), type(event).__name__)


def _fields(event: Event) -> dict[str, Any]:
    return {name: _json_value(value) for name, value in asdict(event).items()}


def _json_value(value: Any) -> Any:
    if isinstance(value, Path):
        return _viewable(value)
    if isinstance(value, tuple):
        return [_json_value(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None  # JSON has no NaN
    return value


def _viewable(path: Path) -> dict[str, str] | None:
    output = Path(folder_paths.get_output_directory()).resolve()
    try:
        relative = path.resolve().relative_to(output)
    except ValueError:
        return None
    return {"filename": relative.name, "subfolder": relative.parent.as_posix(), "type": "output"}
