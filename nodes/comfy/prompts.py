"""Graphs as browsers send them to be run: nodes by id, each with its kind and inputs."""

import json
from typing import Any, TypeAlias, TypeGuard

Inputs: TypeAlias = dict[str, Any]
Prompt: TypeAlias = dict[str, tuple[str, Inputs]]
"""Kind and inputs of each node. An input is a value, or a link: the id of a node and the number of its output."""


def read_prompt(body: bytes) -> tuple[Prompt, list[str] | None]:
    """The graph in a request, and the output nodes that alone are wanted.

    Returns:
        no nodes where it is none: ComfyUI says what is wrong with it.
    """
    try:
        content = json.loads(body)
    except ValueError:
        return {}, None
    graph = content.get("prompt") if isinstance(content, dict) else None
    if not isinstance(graph, dict):
        return {}, None
    prompt = {
        node_id: (node["class_type"], node["inputs"])
        for node_id, node in graph.items()
        if isinstance(node, dict)
        and isinstance(node.get("class_type"), str)
        and isinstance(node.get("inputs"), dict)
    }
    targets = content.get("partial_execution_targets")
    return prompt, targets if isinstance(targets, list) else None


def is_linked(value: object) -> TypeGuard[list[Any]]:
    """Whether an input is linked to another node's output."""
    if not isinstance(value, list) or len(value) != 2:
        return False
    return isinstance(value[0], str) and isinstance(value[1], int | float)


def written_on(prompt: Prompt, node_id: str) -> Inputs:
    """The inputs of a node that are values, not links."""
    return {name: value for name, value in prompt[node_id][1].items() if not is_linked(value)}
