"""What ComfyUI checks of a prompt before it runs: inputs, types of links, bounds, choices."""

import inspect
from typing import Any

from tests.host import Prompt

_CONVERSIONS = {"INT": int, "FLOAT": float, "STRING": str, "BOOLEAN": bool}


def is_link(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 2


def needed(prompt: Prompt, targets: list[str] | None) -> Prompt:
    """The nodes that outputs need; the whole prompt where none is wanted alone."""
    if targets is None:
        return prompt
    waiting, found = list(targets), {}
    while waiting:
        node_id = waiting.pop()
        found[node_id] = prompt[node_id]
        waiting += [v[0] for v in prompt[node_id]["inputs"].values() if is_link(v)]
    return found


def node_errors(prompt: Prompt, nodes: dict[str, Any]) -> dict[str, Any]:
    """ComfyUI's errors by node id; values are converted to their types in place."""
    errors: dict[str, Any] = {}
    for node_id, node in prompt.items():
        if node["class_type"] not in nodes:
            errors[node_id] = {"errors": [_error("missing", node["class_type"])]}
            continue
        if found := _errors_of(node, prompt, nodes):
            errors[node_id] = {"errors": found, "class_type": node["class_type"]}
    return errors


def _errors_of(node: dict[str, Any], prompt: Prompt, nodes: dict[str, Any]) -> list[dict]:
    node_class = nodes[node["class_type"]]
    validate = getattr(node_class, "validate_inputs", None)
    own_checks = inspect.getfullargspec(validate) if validate else None
    found = []
    for item in node_class.define_schema().inputs:
        if item.id not in node["inputs"]:
            if not item.optional:
                found.append(_error("Required input is missing", item.id))
            continue
        value = node["inputs"][item.id]
        if is_link(value):
            source = nodes[prompt[value[0]]["class_type"]].define_schema()
            given = source.outputs[value[1]].io_type
            if given != item.io_type and "*" not in (given, item.io_type):
                found.append(_error("Return type mismatch", f"{item.id}: {given}"))
            continue
        try:
            node["inputs"][item.id] = value = _CONVERSIONS.get(item.io_type, _same)(value)
        except ValueError as error:
            found.append(_error("Failed to convert", f"{item.id}, {value}, {error}"))
            continue
        if own_checks and (own_checks.varkw or item.id in own_checks.args):
            continue
        if problem := _out_of_bounds(item, value):
            found.append(_error(problem, item.id))
    if own_checks and not found:
        found = _own_errors(node, validate, own_checks)
    return found


def _own_errors(node: dict[str, Any], validate: Any, takes: inspect.FullArgSpec) -> list[dict]:
    """What the node's own check says, at each input that it is given; links are None."""
    given = {
        name: None if is_link(value) else value
        for name, value in node["inputs"].items()
        if takes.varkw or name in takes.args
    }
    answer = validate(**given)
    if answer is True:
        return []
    return [_error("Custom validation failed for node", f"{name} - {answer}") for name in given]


def _out_of_bounds(item: Any, value: Any) -> str | None:
    low, high = getattr(item, "min", None), getattr(item, "max", None)
    if low is not None and value < low:
        return f"Value {value} smaller than min of {low}"
    if high is not None and value > high:
        return f"Value {value} bigger than max of {high}"
    options = getattr(item, "options", None)
    if options is not None and value not in options:
        return f"Value not in list: {value!r} not in {options}"
    return None


def _error(message: str, details: str) -> dict[str, str]:
    return {"message": message, "details": details}


def _same(value: Any) -> Any:
    return value
