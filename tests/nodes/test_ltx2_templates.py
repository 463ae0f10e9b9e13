"""Templates for LTX-2.3's files: what they name, and that they train the miniature with what a newcomer changes."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ltxv_train_core.families.ltx2.miniature.datasets import generate
from tests.comfyui.browser import opened_page
from tests.comfyui.host import ComfyUIHost
from tests.host import Host
from tools.templates.ltx2_examples import EXAMPLES

FOLDER = Path(__file__).parents[2] / "example_workflows"
SET = """([type, name, value]) => {
    const node = app.graph.nodes.find(each => each.type === type);
    node.widgets.find(each => each.name === name).value = value;
}"""


@pytest.mark.parametrize("name", EXAMPLES)
def test_every_file_that_is_named_has_its_address(name: str) -> None:
    """ComfyUI offers what a widget of the same node names."""
    workflow = json.loads((FOLDER / f"{name}.json").read_text("utf-8"))
    (model,) = [node for node in workflow["nodes"] if node["type"] == "LTXVTrainModelConfig"]
    files = model["properties"]["models"]
    named = [value for value in model["widgets_values"] if str(value).endswith(".safetensors")]
    assert sorted(named) == sorted(file["name"] for file in files)
    assert len(files) == (5 if "split" in name else 2)
    for file in files:
        assert file["url"].startswith("https://huggingface.co/")
        assert file["url"].endswith(f"/{file['name']}")
        assert file["directory"] in ("checkpoints", "diffusion_models", "text_encoders", "vae")


@pytest.fixture
def page(host: Host, tmp_path: Path) -> Iterator[Any]:
    assert isinstance(host, ComfyUIHost)
    if "LTXVConcatAVLatent" not in host.object_info():
        pytest.skip("this ComfyUI has no LTX-2")
    with opened_page(host.url, tmp_path / "profile") as page:
        page.set_viewport_size({"width": 1280, "height": 720})
        yield page


@pytest.mark.comfyui
@pytest.mark.slow
@pytest.mark.parametrize("host", ["comfyui"], indirect=True)
@pytest.mark.parametrize("name", EXAMPLES)
def test_a_template_trains_the_miniature(page: Any, host: Host, name: str) -> None:
    assert isinstance(host, ComfyUIHost)
    folder = host.base / "input" / name.replace(" ", "-")
    clips = generate("mirror_with_sound", folder, clips=2, seed=len(name))
    text = (FOLDER / f"{name}.json").read_text("utf-8")
    page.evaluate("graph => app.loadGraphData(graph)", json.loads(text))
    page.wait_for_timeout(1500)
    page.screenshot(path=str(host.base / f"{name}.png"))
    for change in (
        ("LTXVTrainDatasetPreprocess", "dataset_path", str(clips.metadata)),
        ("LTXVTrainDatasetPreprocess", "resolution_buckets", "96x96x17"),
        ("LTXVTrainModelConfig", "model_source", "LTX2_MINIATURE"),
        *(
            ("LTXVTrainModelConfig", each, "")
            for each in EXAMPLES[name].files
            if each != "model_source"
        ),
        ("LTXVTrainOptimizationConfig", "steps", 2),
        ("LTXVTrainAccelerationConfig", "quantization", "none"),
        ("LTXVTrainAccelerationConfig", "blocks_to_offload", 0),
        ("LTXVTrainAccelerationConfig", "mixed_precision_mode", "no"),
        ("LTXVTrainValidationConfig", "video_dims", "96x96x17"),
        ("LTXVTrainValidationConfig", "inference_steps", 2),
    ):
        page.evaluate(SET, list(change))
    with page.expect_response(lambda reply: reply.url.endswith("/prompt")) as answer:
        page.evaluate("app.queuePrompt(0)")
    host.wait(answer.value.json()["prompt_id"], 300).succeeded()
