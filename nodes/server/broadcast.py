"""Tells browsers what happens: events named `ltxv_train.progress` on the web socket.

`data` holds `kind` (the event's name), its fields, `node` (id of the node that shows it, or null) and
`graph` (id of that node's workflow, where it has one), and for a run `run` (its name). Files are as ComfyUI's /view route wants them.
"""

import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import folder_paths
from server import PromptServer

from ...ltxv_train_core.events import Event

EVENT_NAME = "ltxv_train.progress"


@dataclass(frozen=True)
class Place:
    """A node on a canvas.

    Attributes:
        node: its id; "3:2" is node 2 inside of the subgraph node 3.
        graph: id of the workflow. None for a prompt without one, and where only the browser is told
            that queued it.
    """

    node: str
    graph: str | None = None

    @classmethod
    def of(cls, hidden: Any) -> "Place":
        """Where a node is executed, from its hidden unique_id and extra_pnginfo."""
        extra = hidden.extra_pnginfo
        workflow = extra.get("workflow") if isinstance(extra, dict) else None
        return cls(hidden.unique_id, workflow.get("id") if isinstance(workflow, dict) else None)


def announce(event: Event, place: Place | None, run: str | None = None) -> None:
    """Sends an event: one of a run to every browser, else to the one that queued the prompt.

    May be called from any thread.
    """
    server = PromptServer.instance
    where = {"node": place.node, "graph": place.graph} if place else {"node": None, "graph": None}
    data = {**where, "run": run, "kind": type(event).__name__, **_fields(event)}
    server.send_sync(EVENT_NAME, data, None if run else server.client_id)


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
