"""A YAML configuration as nodes on the canvas."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.comfyui.browser import opened_page
from tests.comfyui.host import ComfyUIHost
from tests.host import Host
from tests.nodes.test_routes import ask

ROUTE = "/ltxv_train/config/nodes"
OURS = """
model: {model_source: LTXV_MINIATURE}
lora: {rank: 16, alpha: 8, target_modules: [to_q, ff.net.2]}
optimization: {steps: 7, learning_rate: 0.01, scheduler_type: cosine, scheduler_params: {eta_min: 0.001}}
data: {preprocessed_data_root: some/where}
validation: {prompts: [one, two], video_dims: [96, 64, 17], interval: 5}
seed: 5
name: from yaml
"""
THEIRS = """
model: {model_source: LTXV_2B_0.9.6_DEV, training_mode: lora, load_checkpoint: null}
conditioning: {mode: reference_video, first_frame_conditioning_p: 0.2}
acceleration: {mixed_precision_mode: bf16, quantization: null}
data: {preprocessed_data_root: /clips, num_dataloader_workers: 2}
checkpoints: {interval: 250, keep_last_n: -1}
output_dir: outputs/ic
"""


def asked(host: Host, text: str) -> Any:
    body = json.dumps({"file": "", "text": text})
    return ask(host, ROUTE, "POST", body, {"Content-Type": "application/json"})


def test_sections_that_differ_are_given_as_widgets_have_them(host: Host) -> None:
    found = asked(host, OURS).json
    widgets = {each["section"]: each["widgets"] for each in found["sections"]}
    assert list(widgets) == ["model", "lora", "optimization", "data", "validation"]
    assert (widgets["lora"]["rank"], widgets["lora"]["alpha"]) == (16, 8)
    assert widgets["lora"]["target_modules"] == "to_q\nff.net.2"
    assert widgets["optimization"]["scheduler_params"] == "eta_min: 0.001\n"
    assert widgets["data"]["preprocessed_data_root"] == "some/where"
    assert widgets["validation"]["video_dims"] == "96x64x17"
    assert widgets["validation"]["prompts"] == "one\ntwo"
    assert found["join"] == {"type": "LTXVTrainConfig", "widgets": {"seed": 5, "name": "from yaml"}}
    assert found["train"]["type"] == "LTXVTrainLoRA"
    nodes = host.object_info()
    for each in found["sections"]:
        inputs = nodes[each["type"]]["input"]
        assert each["widgets"].keys() <= {**inputs["required"], **inputs.get("optional", {})}.keys()


def test_a_file_of_the_other_trainer_is_read_and_the_training_node_fits(host: Host) -> None:
    found = asked(host, THEIRS).json
    widgets = {each["section"]: each["widgets"] for each in found["sections"]}
    assert list(widgets) == ["model", "conditioning", "data", "checkpoints"]
    assert widgets["checkpoints"]["keep_last_n"] == -1
    assert found["train"]["type"] == "LTXVTrainICLoRA"
    full = THEIRS.replace("lora", "full").replace("reference_video", "none")
    assert asked(host, full).json["train"]["type"] == "LTXVTrainModel"


def test_what_is_wrong_with_a_configuration_is_said(host: Host) -> None:
    answer = asked(host, "lora: {rank: -1}")
    assert answer.status == 409
    assert "lora.rank" in answer.json["error"]
    assert asked(host, "").status == 409


@pytest.mark.comfyui
@pytest.mark.slow
@pytest.mark.parametrize("host", ["comfyui"], indirect=True)
class TestOnTheCanvas:
    @pytest.fixture
    def page(self, host: Host, tmp_path: Path) -> Iterator[Any]:
        assert isinstance(host, ComfyUIHost)
        with opened_page(host.url, tmp_path / "profile") as page:
            page.set_viewport_size({"width": 1280, "height": 720})
            yield page
            page.screenshot(path=str(host.base / "nodes-of-file.png"))

    def test_the_button_places_wired_nodes_that_say_the_same(self, page: Any) -> None:
        page.evaluate(
            """text => {
                app.graph.clear();
                const load = LiteGraph.createNode("LTXVTrainLoadConfig");
                load.pos = [0, 0];
                app.graph.add(load);
                const inTheWay = LiteGraph.createNode("LTXVTrainLoRAConfig");
                inTheWay.pos = [600, 100];
                app.graph.add(inTheWay);
                load.widgets.find(each => each.name === "text").value = text;
                load.widgets.find(each => each.name === "Place as nodes").callback();
            }""",
            OURS,
        )
        page.wait_for_function("app.graph.nodes.length === 9")
        boxes = page.evaluate(
            "app.graph.nodes.map(({ pos, size }) => [pos[0], pos[1] - 30, pos[0] + size[0], pos[1] + size[1]])"
        )
        for i, (left, top, right, bottom) in enumerate(boxes):
            for other in boxes[:i]:
                assert (
                    right <= other[0] or other[2] <= left or bottom <= other[1] or other[3] <= top
                )
        prompt = page.evaluate("app.graphToPrompt().then(({ output }) => output)")
        (train,) = [n for n in prompt.values() if n["class_type"] == "LTXVTrainLoRA"]
        joined = prompt[train["inputs"]["config"][0]]["inputs"]
        sections = {
            name: prompt[link[0]]["inputs"]
            for name, link in joined.items()
            if isinstance(link, list)
        }
        assert sections.keys() == {"model", "lora", "optimization", "data", "validation"}
        assert (joined["seed"], joined["name"]) == (5, "from yaml")
        assert sections["lora"]["target_modules"] == "to_q\nff.net.2"
        assert (sections["optimization"]["steps"], sections["lora"]["rank"]) == (7, 16)
        assert sections["validation"]["video_dims"] == "96x64x17"

    def test_a_wrong_configuration_places_nothing(self, page: Any) -> None:
        page.evaluate(
            """() => {
                app.graph.clear();
                const load = LiteGraph.createNode("LTXVTrainLoadConfig");
                app.graph.add(load);
                load.widgets.find(each => each.name === "text").value = "lora: {rank: -1}";
                load.widgets.find(each => each.name === "Place as nodes").callback();
            }"""
        )
        page.get_by_text("lora.rank").first.wait_for()
        assert page.evaluate("app.graph.nodes.length") == 1
