"""A LoRA file, a sample or a contact sheet that is dropped on ComfyUI's canvas brings the graph that trained it."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open

from ltxv_train_core.media.write import write_video
from tests.comfyui.browser import drop_file, node_types, opened_page
from tests.comfyui.host import ComfyUIHost
from tests.graph import Graph
from tests.host import Host, models_folder
from tests.nodes.workflows import configure, prepare

pytestmark = [
    pytest.mark.comfyui,
    pytest.mark.parametrize("host", ["comfyui"], indirect=True),
]


def test_the_graph_comes_back(host: Host, tmp_path: Path) -> None:
    assert isinstance(host, ComfyUIHost)
    graph = Graph()
    _, preprocessed = prepare(graph, host)
    validation = {"prompts": "a cat", "video_dims": "64x64x9", "inference_steps": 1, "interval": 1}
    config = configure(graph, host, preprocessed, steps=1, name="dropped", validation=validation)
    graph.add("LTXVTrainLoRA", config=config)
    types = sorted(node["class_type"] for node in graph.prompt.values())
    # Queued from the interface, so that the LoRA gets both formats of the graph.
    with opened_page(host.url, tmp_path / "profile") as page:
        page.evaluate("prompt => window.app.loadApiJson(prompt, 'dropped')", graph.prompt)
        assert node_types(page) == types
        page.evaluate("window.app.queuePrompt(0)")
        folder = models_folder(host, "loras") / "ltxv_train"
        for _ in range(600):
            if found := list(folder.glob("dropped-*.safetensors")):
                break
            page.wait_for_timeout(200)
        (lora_file,) = found
        (samples,) = (host.base / "output" / "ltxv_train").glob("dropped-*/samples/000001")
        for path in (lora_file, samples / "000.mp4", samples / "sheet.png"):
            shutil.copyfile(path, host.base / "output" / f"dropped{path.suffix}")
        with safe_open(lora_file, "pt") as file:
            metadata = file.metadata()
        assert len(json.loads(metadata["workflow"])["nodes"]) == len(types)
        assert len(json.loads(metadata["prompt"])) == len(types)
        assert str(host.base) not in json.dumps(metadata)
        for kind in ("safetensors", "mp4", "png"):
            page.evaluate("window.app.graph.clear()")
            assert node_types(page) == []
            drop_file(page, f"dropped.{kind}", f"/view?filename=dropped.{kind}&type=output")
            page.wait_for_function("n => window.app.graph.nodes.length === n", arg=len(types))
            assert node_types(page) == types
        page.screenshot(path=str(host.base / "dropped.png"))


def test_a_sample_without_a_graph_says_why(host: Host, tmp_path: Path) -> None:
    assert isinstance(host, ComfyUIHost)
    texts = {"no_graph": '"No graph in this file: no ComfyUI graph trained it"'}
    sample = host.base / "output" / "without.mp4"
    write_video(sample, np.zeros((9, 64, 96, 3), np.uint8), 24, metadata=texts)
    with opened_page(host.url, tmp_path / "profile") as page:
        drop_file(page, sample.name, f"/view?filename={sample.name}&type=output")
        told = page.locator(".p-toast-message", has_text=sample.name)
        told.wait_for()
        assert "No graph in this file: no ComfyUI graph trained it" in told.inner_text()
        page.screenshot(path=str(host.base / "without.png"))
