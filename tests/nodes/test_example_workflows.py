"""Every example holds against the nodes: types, sockets, links, and the values of all widgets."""

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from tests.host import Host

EXAMPLES = sorted((Path(__file__).parents[2] / "example_workflows").glob("*.json"))
FRONTEND_ONLY = {"MarkdownNote"}
USERS_FILES = {"ckpt_name", "clip_name"}  # in lists of what the user has
WIDGETS = {"INT", "FLOAT", "STRING", "BOOLEAN", "COMBO"}


@pytest.fixture(params=EXAMPLES, ids=[path.stem for path in EXAMPLES])
def workflow(request: pytest.FixtureRequest) -> dict[str, Any]:
    return json.loads(request.param.read_text(encoding="utf-8"))


def inputs_of(schema: dict[str, Any]) -> dict[str, tuple[Any, dict[str, Any]]]:
    """Type and options of every input, in the interface's order."""
    return {
        name: (spec[0], spec[1] if len(spec) > 1 else {})
        for kind in ("required", "optional")
        for name, spec in schema["input"].get(kind, {}).items()
    }


def is_widget(kind: Any) -> bool:
    return isinstance(kind, list) or kind in WIDGETS


def known_nodes(workflow: dict[str, Any], host: Host) -> list[tuple[dict, dict]]:
    """Nodes of the workflow with their schemas; the stand-in knows only those of this pack."""
    schemas = host.object_info()
    nodes = [n for n in workflow["nodes"] if n["type"] not in FRONTEND_ONLY]
    unknown = {n["type"] for n in nodes} - set(schemas)
    assert not any(name.startswith("LTXVTrain") for name in unknown), unknown
    if len(schemas) > 100:
        assert unknown == set()
    found = [(n, schemas[n["type"]]) for n in nodes if n["type"] in schemas]
    return [(node, schema) for node, schema in found if not has_dynamic_inputs(schema)]


def has_dynamic_inputs(schema: dict[str, Any]) -> bool:
    """Some nodes of newer versions: the interface alone knows their widgets."""
    return any(str(kind).startswith("COMFY_DYNAMIC") for kind, _ in inputs_of(schema).values())


def test_there_are_the_quickstarts_and_what_follows_them() -> None:
    assert {p.stem for p in EXAMPLES} >= {
        "quickstart_lora",
        "quickstart_ic_lora",
        "canny_references",
        "your_videos_lora",
    }


def test_every_opened_copy_is_a_graph_of_its_own(workflow: dict[str, Any]) -> None:
    """ComfyUI gives an id to a graph without one; browsers remember runs by it."""
    assert "id" not in workflow


def test_sockets_fit(workflow: dict[str, Any], host: Host) -> None:
    for node, schema in known_nodes(workflow, host):
        inputs = inputs_of(schema)
        assert {i["name"] for i in node["inputs"]} <= set(inputs), node["type"]
        outputs = [o["name"] for o in node["outputs"]]
        assert outputs == schema["output_name"][: len(outputs)], node["type"]
        linked = {i["name"] for i in node["inputs"] if i["link"] is not None}
        needed = {
            name for name in schema["input"].get("required", {}) if not is_widget(inputs[name][0])
        }
        assert needed <= linked, (node["type"], needed - linked)


def test_links_join_equal_types(workflow: dict[str, Any]) -> None:
    nodes = {node["id"]: node for node in workflow["nodes"]}
    for number, source, output, target, slot, kind in workflow["links"]:
        given = nodes[source]["outputs"][output]
        taken = nodes[target]["inputs"][slot]
        assert number in given["links"]
        assert taken["link"] == number
        assert kind == given["type"]
        assert given["type"] in ("*", taken["type"]), (given, taken)


def test_widget_values_are_allowed(workflow: dict[str, Any], host: Host) -> None:
    for node, schema in known_nodes(workflow, host):
        linked = {i["name"] for i in node["inputs"] if i["link"] is not None}
        values = list(node["widgets_values"])
        for name, (kind, options) in inputs_of(schema).items():
            if not is_widget(kind):
                continue
            if not values:
                break  # appended since the workflow was saved: ComfyUI takes their defaults
            value = values.pop(0)
            if name not in linked and name not in USERS_FILES:
                check(kind, options, value, f"{node['type']}.{name}")
            if options.get("control_after_generate"):
                assert values.pop(0) == "fixed"
        assert values == [], node["type"]


def check(kind: Any, options: dict[str, Any], value: Any, where: str) -> None:
    if isinstance(kind, list) or kind == "COMBO":
        assert value in (kind if isinstance(kind, list) else options["options"]), where
    elif kind in ("INT", "FLOAT"):
        assert isinstance(value, int if kind == "INT" else (int, float)), where
        assert options["min"] <= value <= options["max"], where
    else:
        assert isinstance(value, {"STRING": str, "BOOLEAN": bool}[kind]), where


def test_a_reader_is_led_from_left_to_right(workflow: dict[str, Any]) -> None:
    """Links run to the right or down, groups don't overlap, and notes say what happens."""
    assert sum(node["type"] == "MarkdownNote" for node in workflow["nodes"]) >= 2
    nodes = {node["id"]: node for node in workflow["nodes"]}
    for _, source, _, target, *_ in workflow["links"]:
        assert nodes[source]["pos"][0] <= nodes[target]["pos"][0]
    boxes = [group["bounding"] for group in workflow["groups"]]
    for left, right in pairwise(boxes):
        assert left[0] + left[2] <= right[0]
