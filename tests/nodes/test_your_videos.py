"""Templates for one's own videos, run on the miniature with the changes that a newcomer makes, in the interface."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ltxv_train_core.families.ltxv.miniature.datasets import generate
from tests.comfyui.browser import opened_page
from tests.comfyui.host import ComfyUIHost
from tests.host import Host
from tools.templates.trainer_examples import EXAMPLES

pytestmark = [
    pytest.mark.comfyui,
    pytest.mark.slow,
    pytest.mark.parametrize("host", ["comfyui"], indirect=True),
]

TEMPLATES = Path(__file__).parents[2] / "example_workflows"
PREPROCESS, OPTIMIZATION = "LTXVTrainDatasetPreprocess", "LTXVTrainOptimizationConfig"
SET = """([type, name, value]) => {
    const node = app.graph.nodes.find(each => each.type === type);
    node.widgets.find(each => each.name === name).value = value;
}"""

# The node is as much higher than its widgets as the contact sheet is, at the node's width.
SHEET_IS_SEEN = """() => {
    const node = app.graph.nodes.find(each => each.type === "LTXVTrainDatasetPreprocess");
    const sheet = node.imgs?.[0];
    const height = sheet?.naturalWidth ? node.size[0] * sheet.naturalHeight / sheet.naturalWidth : Infinity;
    return node.size[1] >= Math.min(900, height) + 200;
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


def opened(page: Any, name: str, *changes: tuple[str, str, object]) -> None:
    """Opens a template and sets widgets: (node, widget, value)."""
    text = (TEMPLATES / f"{name}.json").read_text("utf-8")
    page.evaluate("graph => app.loadGraphData(graph)", json.loads(text))
    page.wait_for_timeout(1500)
    for change in changes:
        page.evaluate(SET, list(change))


def test_one_value_changes_the_model_everywhere(page: Any, host: Host) -> None:
    dataset = generate("stripes", Path(host.base, "input", "mine"), clips=2, seed=3)
    opened(
        page,
        "Your videos to a LoRA",
        (PREPROCESS, "dataset_path", str(dataset.metadata)),
        (PREPROCESS, "resolution_buckets", "96x96x17"),
        ("LTXVTrainRecipe", "effort", "draft"),
        ("LTXVTrainModelConfig", "model_source", "LTXV_MINIATURE"),
    )
    first = host.wait(queued(page)["prompt_id"], 400).succeeded()
    videos = [out for out in first.outputs.values() if "images" in out and out.get("animated")]
    assert len(videos) == 1
    assert videos[0]["images"][0]["filename"].startswith("without-and-with")

    page.wait_for_function(SHEET_IS_SEEN)
    second = queued(page)["prompt_id"]
    again = host.wait(second, 100).succeeded()
    nodes = host.get(f"/history/{second}")[second]["prompt"][2]
    ran = {f"{id_} {node['class_type']}" for id_, node in nodes.items() if id_ not in again.cached}
    # Where memory is short, newer versions drop results of nodes whose outputs nobody needs.
    assert {name for name in ran if not name.endswith("SaveVideo")} == set()


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_of_the_other_trainer_trains_the_miniature(
    page: Any, host: Host, name: str
) -> None:
    """What a CPU without bitsandbytes can't do is set back."""
    task = "mirror" if name.startswith("IC") else "stripes"
    dataset = generate(task, Path(host.base, "input", f"example-{task}"), clips=3, seed=3)
    opened(
        page,
        name,
        (PREPROCESS, "dataset_path", str(dataset.metadata)),
        (PREPROCESS, "resolution_buckets", "96x96x17"),
        ("LTXVTrainModelConfig", "model_source", "LTXV_MINIATURE"),
        (OPTIMIZATION, "steps", 2),
        (OPTIMIZATION, "optimizer_type", "adamw"),
        ("LTXVTrainAccelerationConfig", "quantization", "none"),
        ("LTXVTrainAccelerationConfig", "compile_with_inductor", False),
        ("LTXVTrainAccelerationConfig", "load_text_encoder_in_8bit", False),
        ("LTXVTrainValidationConfig", "prompts", ""),
        ("LTXVTrainConfig", "name", f"example {name}"),
    )
    done = host.wait(queued(page)["prompt_id"], 200).succeeded()
    texts = [text for out in done.outputs.values() for text in out.get("text", ())]
    assert any(
        text.startswith(f"ltxv_train/example {name}-") and "2 steps" in text for text in texts
    ), texts
