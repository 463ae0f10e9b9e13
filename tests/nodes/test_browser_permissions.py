"""What a person is asked at the node and in the settings, with real clicks."""

from pathlib import Path

import numpy as np
import pytest

from ltxv_train_core.families.ltxv.miniature.datasets import generate
from ltxv_train_core.media.write import write_video
from tests.comfyui.host import ComfyUIHost
from tests.graph import Graph
from tests.host import Host
from tests.nodes.test_browser import Interface, interface, load  # noqa: F401 (a fixture)
from tests.nodes.workflows import SIZE, add, configure, prepare

pytestmark = [
    pytest.mark.comfyui,
    pytest.mark.slow,
    pytest.mark.parametrize("host", ["comfyui"], indirect=True),
]


def finished(host: ComfyUIHost) -> int:
    return len(host.get("/history"))


def ran(host: ComfyUIHost, interface: Interface) -> str:  # noqa: F811
    """Presses Run and waits; gives how the prompt ended."""
    before = finished(host)
    interface.run()
    for _ in range(600):
        if finished(host) > before:
            last = max(host.get("/history").values(), key=lambda entry: entry["prompt"][0])
            return last["status"]["status_str"]
        interface.page.wait_for_timeout(100)
    raise AssertionError("the prompt did not end")


def test_an_own_data_set_on_another_disk_costs_one_click(
    host: Host,
    interface: Interface,  # noqa: F811
    tmp_path: Path,
) -> None:
    assert isinstance(host, ComfyUIHost)
    page = interface.page
    metadata = generate("stripes", tmp_path / "disk" / "clips", clips=2).metadata
    graph = Graph()
    add(
        graph,
        host,
        "LTXVTrainDatasetPreprocess",
        dataset_path=str(metadata),
        model_source="LTXV_MINIATURE",
        resolution_buckets=SIZE,
    )
    page.evaluate("prompt => window.app.loadApiJson(prompt, 'permission')", graph.prompt)
    interface.show("LTXVTrainDatasetPreprocess")
    assert ran(host, interface) == "error"
    wish = f"This graph wants to use files in {metadata.parent}"
    page.locator(".ltxv-ask").get_by_text(wish).wait_for()
    page.locator(".p-toast-message").get_by_text(wish).wait_for()
    close_dialogs(interface)
    page.screenshot(path=str(host.base / "permission.png"))
    # A script's click allows nothing.
    page.evaluate("document.querySelector('.ltxv-allow').click()")
    page.wait_for_timeout(300)
    assert host.get("/ltxv_train/permissions")["folders"] == []
    page.get_by_role("button", name="Allow this folder").click()
    page.get_by_text("Press Run").wait_for()
    assert host.get("/ltxv_train/permissions")["folders"] == [str(metadata.parent)]
    assert ran(host, interface) == "success"
    assert (metadata.parent / ".precomputed" / "index.json").is_file()

    # The settings list it, and take it back.
    page.keyboard.press("Control+,")
    page.get_by_text("LTXV Train", exact=True).last.click()
    page.get_by_text(f"Folder: {metadata.parent}").wait_for()
    page.screenshot(path=str(host.base / "permission_settings.png"))
    page.get_by_role("button", name="Remove", exact=True).click()
    page.get_by_text("Nothing yet").wait_for()
    assert host.get("/ltxv_train/permissions")["folders"] == []


def test_a_left_out_clip_is_asked_for_too(
    host: Host,
    interface: Interface,  # noqa: F811
    tmp_path: Path,
) -> None:
    assert isinstance(host, ComfyUIHost)
    folder = host.base / "input" / "mixed"
    for path in (folder / "a.mp4", tmp_path / "far" / "b.mp4"):
        write_video(path, np.zeros((17, 96, 96, 3), np.uint8), 24)
    rows = f"caption,media_path\none,a.mp4\ntwo,{tmp_path / 'far' / 'b.mp4'}\n"
    (folder / "mixed.csv").write_text(rows, encoding="utf-8")
    graph = Graph()
    values = {"model_source": "LTXV_MINIATURE", "resolution_buckets": SIZE}
    node = "LTXVTrainDatasetPreprocess"
    add(graph, host, node, dataset_path="mixed/mixed.csv", **values)
    interface.page.evaluate("prompt => window.app.loadApiJson(prompt, 'mixed')", graph.prompt)
    interface.show(node)
    assert ran(host, interface) == "success"
    wish = f"wants to use files in {tmp_path / 'far'}"
    interface.page.locator(".ltxv-ask").get_by_text(wish).wait_for()
    interface.page.get_by_role("button", name="No", exact=True).click()
    interface.page.wait_for_function("!document.querySelector('.ltxv-ask')")
    assert host.get("/ltxv_train/permissions")["folders"] == []


def test_an_upload_waits_for_an_answer(host: Host, interface: Interface) -> None:  # noqa: F811
    assert isinstance(host, ComfyUIHost)
    page = interface.page
    graph = Graph()
    _, data = prepare(graph, host)
    wanted = {"push_to_hub": True, "hub_model_id": "mallory/loot", "private": False}
    config = configure(graph, host, data, steps=3, name="asks", hub=wanted)
    graph.add("LTXVTrainLoRA", config=config)
    page.evaluate("prompt => window.app.loadApiJson(prompt, 'upload')", graph.prompt)
    interface.show()
    interface.run()
    interface.until(lambda: interface.text("status") == "finished")
    interface.until(lambda: interface.panel("!panel.querySelector('.ltxv-upload').hidden"))
    text = interface.panel("panel.querySelector('.ltxv-upload').innerText")
    assert "uploaded to mallory/loot (public) at the Hugging Face Hub" in text
    assert "training_config.yaml" in text
    page.wait_for_timeout(300)
    page.screenshot(path=str(host.base / "upload.png"))
    name = interface.text("name")
    page.locator(".ltxv-node [data-answer=no]").click()
    interface.until(lambda: interface.panel("panel.querySelector('.ltxv-upload').hidden"))
    assert host.get(f"/ltxv_train/runs/{name}/upload")["upload"]["status"] == "refused"


def close_dialogs(interface: Interface) -> None:  # noqa: F811
    """The interface shows an error over the canvas."""
    interface.page.keyboard.press("Escape")
    interface.page.wait_for_timeout(500)
