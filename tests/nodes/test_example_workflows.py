"""Every example holds against the nodes: types, sockets, links, and the values of all widgets."""

import json
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.host import Host
from tools.templates.graphs import TEMPLATES

ROOT = Path(__file__).parents[2]
EXAMPLES = sorted((ROOT / "example_workflows").glob("*.json"))
FRONTEND_ONLY = {"MarkdownNote"}
USERS_FILES = {"ckpt_name", "clip_name"}  # in lists of what the user has
OF_LTX2 = {"LTXVConcatAVLatent"}
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
    """An input that takes several types has the widget of the first."""
    return isinstance(kind, list) or str(kind).split(",")[0] in WIDGETS


def subgraphs(workflow: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """By the type of the nodes that stand for them."""
    return {each["id"]: each for each in workflow.get("definitions", {}).get("subgraphs", ())}


def known_nodes(workflow: dict[str, Any], host: Host) -> list[tuple[dict, dict]]:
    """Nodes of the workflow and its subgraphs with their schemas; the stand-in knows only those of this
    pack."""
    schemas = host.object_info()
    inner = subgraphs(workflow)
    every = [*workflow["nodes"], *(n for each in inner.values() for n in each["nodes"])]
    nodes = [n for n in every if n["type"] not in FRONTEND_ONLY | inner.keys()]
    unknown = {n["type"] for n in nodes} - set(schemas)
    assert not any(name.startswith("LTXVTrain") for name in unknown), unknown
    if len(schemas) > 100:
        if unknown & OF_LTX2:
            pytest.skip("this ComfyUI has no LTX-2")
        assert unknown == set()
    found = [(n, schemas[n["type"]]) for n in nodes if n["type"] in schemas]
    return [(node, schema) for node, schema in found if not has_dynamic_inputs(schema)]


def has_dynamic_inputs(schema: dict[str, Any]) -> bool:
    """Some nodes of newer versions: the interface alone knows their widgets."""
    return any(str(kind).startswith("COMFY_DYNAMIC") for kind, _ in inputs_of(schema).values())


def test_the_files_are_what_the_tool_writes() -> None:
    """In a process of its own, which imports no ComfyUI beside the stand-in."""
    command = [sys.executable, str(ROOT / "tools" / "write_templates.py"), "--check"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert {path.stem for path in EXAMPLES} == set(TEMPLATES)


def test_every_template_has_a_picture() -> None:
    """The template browser asks for NAME.jpg, and shows 4:3 whole."""
    for path in EXAMPLES:
        with Image.open(path.with_suffix(".jpg")) as picture:
            assert picture.size == (512, 384)


def test_a_workflow_is_small_and_its_note_short(workflow: dict[str, Any]) -> None:
    """Front end 1.49 fits a graph into three quarters of the window; at 1280x720 letters of 14 px must
    have 9 there."""
    nodes = workflow["nodes"]
    assert len(nodes) <= 12
    boxes = [group["bounding"] for group in workflow["groups"]]
    width = max(x + w for x, _, w, _ in boxes) - min(x for x, *_ in boxes)
    height = max(y + h for _, y, _, h in boxes) - min(y for _, y, *_ in boxes)
    assert 14 * 0.75 * min(1280 / width, 720 / height) >= 9
    (note,) = [node for node in nodes if node["type"] == "MarkdownNote"]
    assert len(note["widgets_values"][0].split()) <= 80
    for node in nodes:
        (x, y), (w, h) = node["pos"], node["size"]
        inside = [b for b in boxes if b[0] <= x and x + w <= b[0] + b[2]]
        assert any(b[1] < y and y + h <= b[1] + b[3] for b in inside), node["type"]


def test_a_subgraphs_node_has_its_sockets(workflow: dict[str, Any]) -> None:
    inner = subgraphs(workflow)
    for node in workflow["nodes"]:
        if node["type"] not in inner:
            continue
        graph = inner[node["type"]]
        names = [each["name"] for each in graph["inputs"]]
        assert {each["name"] for each in node["inputs"]} <= set(names)
        assert len(node["widgets_values"]) == len(
            [each for each in graph["inputs"] if is_widget(each["type"])]
        )
        assert [o["name"] for o in node["outputs"]] == [o["name"] for o in graph["outputs"]]
        ids = {each["id"]: each for each in graph["nodes"]}
        for link in graph["links"]:
            if link["target_id"] in ids:
                target = ids[link["target_id"]]["inputs"][link["target_slot"]]
                assert target["link"] == link["id"]
                assert link["type"] in ("*", target["type"])
            if link["origin_id"] in ids:
                source = ids[link["origin_id"]]["outputs"][link["origin_slot"]]
                assert link["id"] in source["links"]
                assert link["type"] == source["type"]


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
    kind = kind if isinstance(kind, list) else str(kind).split(",")[0]
    if isinstance(kind, list) or kind == "COMBO":
        assert value in (kind if isinstance(kind, list) else options["options"]), where
    elif kind in ("INT", "FLOAT"):
        assert isinstance(value, int if kind == "INT" else (int, float)), where
        assert options["min"] <= value <= options["max"], where
    else:
        assert isinstance(value, {"STRING": str, "BOOLEAN": bool}[kind]), where


def test_a_reader_is_led_from_left_to_right(workflow: dict[str, Any]) -> None:
    """Links run to the right or down, and groups don't overlap."""
    nodes = {node["id"]: node for node in workflow["nodes"]}
    for _, source, _, target, *_ in workflow["links"]:
        assert nodes[source]["pos"][0] <= nodes[target]["pos"][0]
    boxes = [group["bounding"] for group in workflow["groups"]]
    for left, right in pairwise(boxes):
        assert left[0] + left[2] <= right[0]
