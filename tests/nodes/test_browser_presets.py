"""Presets of target modules at the node where they are chosen, in ComfyUI's own interface."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.comfyui.browser import opened_page
from tests.comfyui.host import ComfyUIHost
from tests.host import Host

pytestmark = [
    pytest.mark.comfyui,
    pytest.mark.slow,
    pytest.mark.parametrize("host", ["comfyui"], indirect=True),
]
PLACED = """() => {
    app.graph.clear();
    const made = ["LTXVTrainLoRAConfig", "LTXVTrainConfig", "LTXVTrainModelConfig"].map((type, index) => {
        const node = LiteGraph.createNode(type);
        node.pos = [420 * index, 0];
        app.graph.add(node);
        return node;
    });
    const [lora, join, model] = made;
    lora.connect(0, join, join.findInputSlot("lora"));
    window.show = () => { lora.showAdvanced = true; app.canvas.setDirty(true, true); };
    const widget = (node, name) => node.widgets.find((each) => each.name === name);
    widget(lora, "rank").value = 16;
    widget(model, "model_source").value = "LTX2_MINIATURE";
    Object.assign(app.canvas.ds, { scale: 0.8, offset: [60, 120] });
    app.canvas.setDirty(true, true);
    window.joined = () => model.connect(0, join, join.findInputSlot("model"));
    window.targets = () => widget(lora, "target_modules").value;
}"""


@pytest.fixture
def page(host: Host, tmp_path: Path) -> Iterator[Any]:
    assert isinstance(host, ComfyUIHost)
    with opened_page(host.url, tmp_path / "profile") as page:
        page.set_viewport_size({"width": 1400, "height": 950})
        yield page
        page.screenshot(path=str(host.base / "presets.png"))


def test_presets_show_what_they_take_and_are_written(page: Any) -> None:
    page.wait_for_function("window.app?.graph?.nodes.length > 5")  # ComfyUI opens its own first
    page.evaluate(PLACED)
    page.wait_for_timeout(1000)
    assert not page.locator(".ltxv-presets").is_visible()
    page.evaluate("show()")
    page.get_by_text("Presets show here once this leads to a training").wait_for()
    page.evaluate("joined()")
    buttons = page.locator(".ltxv-presets button")
    buttons.first.wait_for()
    assert buttons.all_inner_texts() == [
        "video: 262 k parameters, 4.5 MiB to train, 1 MiB as a file",
        "audio: 131 k parameters, 2.3 MiB to train, 512 KiB as a file",
        "cross-modal: 164 k parameters, 2.8 MiB to train, 640 KiB as a file",
        "all: 557 k parameters, 9.6 MiB to train, 2.1 MiB as a file",
    ]
    buttons.nth(1).click()
    page.locator('.ltxv-presets button[aria-pressed="true"]').wait_for()
    assert page.evaluate("targets()") == "audio"
