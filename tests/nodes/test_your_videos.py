"""The template for one's own videos, run on the miniature: the changes that a newcomer makes, in the interface."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ltxv_train_core.families.ltxv.miniature.datasets import generate
from tests.comfyui.browser import opened_page
from tests.comfyui.host import ComfyUIHost
from tests.host import Host

pytestmark = [
    pytest.mark.comfyui,
    pytest.mark.slow,
    pytest.mark.parametrize("host", ["comfyui"], indirect=True),
]

TEMPLATE = Path(__file__).parents[2] / "example_workflows" / "Your videos to a LoRA.json"
SET = """([type, name, value]) => {
    const node = app.graph.nodes.find(each => each.type === type);
    node.widgets.find(each => each.name === name).value = value;
}"""


@pytest.fixture
def page(host: Host, tmp_path: Path) -> Iterator[Any]:
    assert isinstance(host, ComfyUIHost)
    with opened_page(host.url, tmp_path / "profile") as page:
        yield page
        page.screenshot(path=str(host.base / "your-videos.png"))


def queued(page: Any) -> Any:
    """What the server answers to Run."""
    with page.expect_response(lambda reply: reply.url.endswith("/prompt")) as answer:
        page.evaluate("app.queuePrompt(0)")
    return answer.value.json()


def test_one_value_changes_the_model_everywhere(page: Any, host: Host) -> None:
    dataset = generate("stripes", Path(host.base, "input", "mine"), clips=2, seed=3)
    page.evaluate("graph => app.loadGraphData(graph)", json.loads(TEMPLATE.read_text("utf-8")))
    page.wait_for_timeout(1500)
    for change in (
        ("LTXVTrainDatasetPreprocess", "dataset_path", str(dataset.metadata)),
        ("LTXVTrainDatasetPreprocess", "resolution_buckets", "96x96x17"),
        ("LTXVTrainRecipe", "effort", "draft"),
        ("LTXVTrainModelConfig", "model_source", "LTXV_MINIATURE"),
    ):
        page.evaluate(SET, list(change))
    first = host.wait(queued(page)["prompt_id"], 400).succeeded()
    videos = [out for out in first.outputs.values() if "images" in out and out.get("animated")]
    assert len(videos) == 1
    assert videos[0]["images"][0]["filename"].startswith("without-and-with")

    second = queued(page)["prompt_id"]
    again = host.wait(second, 100).succeeded()
    nodes = host.get(f"/history/{second}")[second]["prompt"][2]
    ran = {f"{id_} {node['class_type']}" for id_, node in nodes.items() if id_ not in again.cached}
    # Where memory is short, newer versions drop results of nodes whose outputs nobody needs.
    assert {name for name in ran if not name.endswith("SaveVideo")} == set()
