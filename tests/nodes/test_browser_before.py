"""A workflow that was saved while nodes had other sockets, in ComfyUI's own interface."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.comfyui.browser import opened_page
from tests.host import Host

pytestmark = [
    pytest.mark.comfyui,
    pytest.mark.slow,
    pytest.mark.parametrize("host", ["comfyui"], indirect=True),
]

SAVED = Path(__file__).parent / "graphs" / "references_before.json"
"""The template "IC-LoRA from any ComfyUI graph" when `references` came before the required inputs."""

LINKS = """app.graph.nodes.flatMap(node => node.inputs.flatMap((input, slot) => {
    const link = app.graph.getLink ? app.graph.getLink(input.link) : app.graph.links[input.link];
    if (!link) return [];
    const from = app.graph.getNodeById(link.origin_id);
    return [[from.type, from.outputs[link.origin_slot].name, node.type, input.name, link.target_slot === slot]];
}))"""


def test_each_link_is_at_the_input_that_it_was_saved_at(host: Host, tmp_path: Path) -> None:
    saved = json.loads(SAVED.read_text(encoding="utf-8"))
    nodes = {node["id"]: node for node in saved["nodes"]}
    expected = [
        [
            nodes[origin]["type"],
            nodes[origin]["outputs"][output]["name"],
            nodes[target]["type"],
            nodes[target]["inputs"][slot]["name"],
            True,
        ]
        for _, origin, output, target, slot, _ in saved["links"]
    ]
    with opened_page(host.url, tmp_path / "profile") as page:
        page.evaluate("graph => app.loadGraphData(graph)", saved)
        found: list[Any] = page.evaluate(LINKS)
        prompt = page.evaluate("app.graphToPrompt().then(each => each.output)")
    assert sorted(found) == sorted(expected)
    linked = {
        name: value for name, value in prompt["5"]["inputs"].items() if isinstance(value, list)
    }
    assert linked == {"references": ["4", 0], "dataset_path": ["3", 4], "names": ["3", 1]}
