"""Builds a workflow: nodes in columns, links, groups, and subgraphs, in ComfyUI's file format 0.4.

The format is read alike by front ends 1.27 and 1.49; what only one of them knows is left out.
"""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from .stock import Combo, Stock

GAP, TITLE, GROUP_MARGIN, BELOW = 40, 30, 20, 12
GROUP_COLOR = "#3f5159"
SCALE = 0.8
"""In which front end 1.27 opens a workflow; later ones fit it into the window."""

Schemas = Mapping[str, Stock]


@dataclass
class Node:
    """A node; `node["name"]` is one of its outputs.

    Attributes:
        models: files that its widgets name, each with `name`, `url` and `directory`: ComfyUI says which are missing.
    """

    id: int
    type: str
    shape: Stock
    size: tuple[int, int]
    title: str | None
    values: dict[str, object]
    pos: tuple[int, int] = (0, 0)
    linked: dict[str, int] = field(default_factory=dict)
    out: dict[str, list[int]] = field(default_factory=dict)
    models: list[dict[str, str]] = field(default_factory=list)

    def __getitem__(self, output: str) -> tuple["Node", str]:
        assert output in self.shape.outputs, (self.type, output)
        return self, output

    def to_json(self, order: int) -> dict[str, Any]:
        names = [*self.shape.inputs, *(w for w in self.shape.widgets if w in self.linked)]
        inputs: list[dict[str, Any]] = []
        for name in names:
            entry: dict[str, Any] = {"name": name, "type": self._input_type(name)}
            if name in self.shape.widgets:
                entry["widget"] = {"name": name}
            inputs.append(entry | {"link": self.linked.get(name)})
        outputs = [
            {"name": name, "type": kind, "links": self.out.get(name, [])}
            for name, kind in self.shape.outputs.items()
        ]
        described: dict[str, Any] = {
            "id": self.id,
            "type": self.type,
            "pos": list(self.pos),
            "size": list(self.size),
            "flags": {},
            "order": order,
            "mode": 0,
            "inputs": inputs,
            "outputs": outputs,
            "properties": {"Node name for S&R": self.type}
            | ({"models": self.models} if self.models else {}),
            "widgets_values": list(self.values.values()),
        }
        return described | ({"title": self.title} if self.title else {})

    def slot(self, name: str) -> int:
        names = [*self.shape.inputs, *(w for w in self.shape.widgets if w in self.linked)]
        return names.index(name)

    def _input_type(self, name: str) -> str:
        kind = self.shape.inputs.get(name)
        return kind or _widget_type(self.shape.widgets[name])


@dataclass
class Graph:
    """Nodes and links of a workflow, or of a subgraph in one."""

    schemas: Schemas
    nodes: list[Node] = field(default_factory=list)
    links: list[tuple[int, Any, str, Any, str]] = field(default_factory=list)
    last: int = 0

    def add(
        self,
        type_: str,
        size: tuple[int, int] = (300, 100),
        title: str | None = None,
        **inputs: object,
    ) -> Node:
        """Adds a node; an input that is an output of another node is a link, any other a widget's value."""
        shape = self.schemas[type_]
        values = dict(shape.widgets)
        for name, value in inputs.items():
            if not isinstance(value, tuple):
                assert name in values, (type_, name)
                values[name] = value
        node = Node(len(self.nodes) + 1, type_, shape, size, title, values)
        self.nodes.append(node)
        for name, value in inputs.items():
            if isinstance(value, tuple):
                self.link(value, node, name)
        return node

    def link(self, source: tuple[Any, str], target: Any, name: str) -> int:
        """Links an output to an input, and returns the link's number."""
        self.last += 1
        self.links.append((self.last, *source, target, name))
        if isinstance(source[0], Node):
            source[0].out.setdefault(source[1], []).append(self.last)
        if isinstance(target, Node):
            target.linked[name] = self.last
        return self.last


class Workflow(Graph):
    """A workflow whose nodes stand in columns, each under its group's title."""

    def __init__(self, schemas: Schemas):
        super().__init__(schemas)
        self.columns: list[tuple[str, list[Node]]] = []
        self.subgraphs: list[Subgraph] = []

    def column(self, title: str, *nodes: Node) -> None:
        """Puts nodes below each other, right of the columns before; columns of one title share a group."""
        self.columns.append((title, list(nodes)))

    def subgraph(self, inner: "Subgraph", size: tuple[int, int], **inputs: object) -> Node:
        """Adds a node that stands for a subgraph."""
        self.subgraphs.append(inner)
        shape = Stock(inner.sockets, inner.gives, inner.promoted)
        self.schemas = {**self.schemas, inner.id: shape}
        return self.add(inner.id, size, inner.name, **inputs)

    def to_json(self) -> dict[str, Any]:
        groups = self._place()
        left = min(group["bounding"][0] for group in groups)
        top = min(group["bounding"][1] for group in groups)
        offset = [round(60 / SCALE - left), round(110 / SCALE - top)]
        whole: dict[str, Any] = {
            "last_node_id": len(self.nodes),
            "last_link_id": self.last,
            "nodes": [node.to_json(order) for order, node in enumerate(self.nodes)],
            "links": [
                [
                    number,
                    s.id,
                    [*s.shape.outputs].index(out),
                    t.id,
                    t.slot(name),
                    s.shape.outputs[out],
                ]
                for number, s, out, t, name in self.links
            ],
            "groups": groups,
            "config": {},
            "extra": {"ds": {"scale": SCALE, "offset": offset}},
            "version": 0.4,
        }
        if self.subgraphs:
            whole["definitions"] = {"subgraphs": [each.to_json() for each in self.subgraphs]}
        return whole

    def _place(self) -> list[dict[str, Any]]:
        boxes: dict[str, list[int]] = {}
        x, bottom = GROUP_MARGIN, 0
        for number, (title, nodes) in enumerate(self.columns):
            y = TITLE + 40
            for node in nodes:
                node.pos = (x, y)
                y += node.size[1] + TITLE + BELOW
            width = max(node.size[0] for node in nodes)
            box = boxes.setdefault(title, [x - GROUP_MARGIN, 0, 0, 0])
            box[2] = x + width + GROUP_MARGIN - box[0]
            bottom = max(bottom, y - TITLE + 8)
            follows = self.columns[number + 1][0] if number + 1 < len(self.columns) else title
            x += width + (GAP if follows == title else 2 * GROUP_MARGIN + GROUP_MARGIN)
        return [
            {
                "title": title,
                "bounding": [*box[:3], bottom],
                "color": GROUP_COLOR,
                "font_size": 20,
                "flags": {},
            }
            for title, box in boxes.items()
        ]


class Subgraph(Graph):
    """Nodes behind one node. Its inputs and outputs are links of their own; what is promoted is a widget."""

    def __init__(self, name: str, schemas: Schemas):
        super().__init__(schemas)
        self.name = name
        self.id = str(uuid.uuid5(uuid.NAMESPACE_URL, f"ltxv_train/{name}"))
        self.sockets: dict[str, str] = {}
        self.promoted: dict[str, object] = {}
        self.gives: dict[str, str] = {}
        self._takes: dict[str, list[int]] = {}
        self._ends: dict[str, int] = {}

    def take(self, name: str, *targets: tuple[Node, str], value: object = "") -> None:
        """A widget of the subgraph's node, which stands for those of nodes in it."""
        self.promoted[name] = value
        self._takes[name] = [self.link((self, name), node, widget) for node, widget in targets]

    def need(self, name: str, *targets: tuple[Node, str]) -> None:
        """An input of the subgraph's node that must be linked."""
        node, socket = targets[0]
        self.sockets[name] = node.shape.inputs[socket]
        self._takes[name] = [self.link((self, name), node, socket) for node, socket in targets]

    def give(self, name: str, source: tuple[Node, str]) -> None:
        """An output of the subgraph's node."""
        self.gives[name] = source[0].shape.outputs[source[1]]
        self._ends[name] = self.link(source, self, name)

    def to_json(self) -> dict[str, Any]:
        self._place()
        kinds = self.sockets | {name: _widget_type(value) for name, value in self.promoted.items()}
        names, ends = [*kinds], [*self.gives]

        def row(link: tuple[int, Any, str, Any, str]) -> dict[str, Any]:
            number, s, out, t, name = link
            inside = isinstance(s, Node)
            kind = s.shape.outputs[out] if inside else kinds[out]
            return {
                "id": number,
                "origin_id": s.id if inside else -10,
                "origin_slot": [*s.shape.outputs].index(out) if inside else names.index(out),
                "target_id": t.id if isinstance(t, Node) else -20,
                "target_slot": t.slot(name) if isinstance(t, Node) else ends.index(name),
                "type": kind,
            }

        right = max(node.pos[0] + node.size[0] for node in self.nodes)
        return {
            "id": self.id,
            "version": 1,
            "state": {
                "lastGroupId": 0,
                "lastNodeId": len(self.nodes),
                "lastLinkId": self.last,
                "lastRerouteId": 0,
            },
            "revision": 0,
            "config": {},
            "name": self.name,
            "inputNode": {"id": -10, "bounding": [-220, 0, 160, 40 + 20 * len(names)]},
            "outputNode": {"id": -20, "bounding": [right + 60, 0, 160, 40 + 20 * len(ends)]},
            "inputs": [
                {
                    "id": self._uuid(f"in {name}"),
                    "name": name,
                    "type": kinds[name],
                    "linkIds": self._takes[name],
                    "pos": [-80, 20 + 20 * k],
                }
                for k, name in enumerate(names)
            ],
            "outputs": [
                {
                    "id": self._uuid(f"out {name}"),
                    "name": name,
                    "type": self.gives[name],
                    "linkIds": [self._ends[name]],
                    "pos": [right + 80, 20 + 20 * k],
                }
                for k, name in enumerate(ends)
            ],
            "widgets": [],
            "nodes": [node.to_json(order) for order, node in enumerate(self.nodes)],
            "groups": [],
            "links": [row(link) for link in self.links],
            "extra": {},
        }

    def _place(self) -> None:
        """Each node right of all that it needs, below those that stand there."""
        columns: dict[int, int] = {}
        depth: dict[int, int] = {}
        for node in self.nodes:
            before = [s for _, s, _, t, _ in self.links if t is node and isinstance(s, Node)]
            depth[node.id] = max((depth[each.id] + 1 for each in before), default=0)
            y = columns.get(depth[node.id], 0)
            node.pos = (depth[node.id] * 400, y)
            columns[depth[node.id]] = y + node.size[1] + TITLE + GAP

    def _uuid(self, name: str) -> str:
        return str(uuid.uuid5(uuid.UUID(self.id), name))


def _widget_type(value: object) -> str:
    if isinstance(value, Combo):
        return "COMBO"
    kinds: dict[type, str] = {bool: "BOOLEAN", int: "INT", float: "FLOAT", str: "STRING"}
    return kinds[type(value)]
