"""Writes prompts in ComfyUI's API format."""

import json
from dataclasses import dataclass, field
from typing import Any

from .host import Outcome, Prompt


@dataclass(frozen=True)
class Node:
    """A node in a graph; `node[1]` is a link to its second output."""

    id: str

    def __getitem__(self, output: int) -> list[Any]:
        return [self.id, output]


@dataclass
class Graph:
    """`inputs` given as a `Node` are links to its first output."""

    prompt: Prompt = field(default_factory=dict)

    def add(self, class_type: str, **inputs: Any) -> Node:
        node = Node(str(len(self.prompt) + 1))
        linked = {k: v[0] if isinstance(v, Node) else v for k, v in inputs.items()}
        self.prompt[node.id] = {"class_type": class_type, "inputs": linked}
        return node

    def probe(self, value: Any) -> Node:
        """A node that shows a value; read it with `seen`."""
        return self.add("ProbeValue", value=value)


def seen_each(outcome: Outcome, probe: Node) -> list[Any]:
    """What a probe was given, entry by entry of a list."""
    return [json.loads(text) for text in outcome.succeeded().outputs[probe.id]["text"]]


def seen(outcome: Outcome, probe: Node) -> Any:
    """What a probe was given."""
    return json.loads(outcome.succeeded().outputs[probe.id]["text"][0])
