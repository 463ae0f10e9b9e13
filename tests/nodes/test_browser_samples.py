"""Samples in ComfyUI's own interface: large, side by side, over each other, and into the graph."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.comfyui.browser import opened_page
from tests.comfyui.host import ComfyUIHost
from tests.host import Host
from tests.nodes.made_runs import make_run

pytestmark = [
    pytest.mark.comfyui,
    pytest.mark.slow,
    pytest.mark.parametrize("host", ["comfyui"], indirect=True),
]

NAME = "shown-0123456789ab"
WHOLE = Path(__file__).parent / "graphs" / "whole.json"
STATES = """() => [...document.querySelectorAll(".ltxv-viewer video")]
    .map(video => [video.currentTime, video.paused, video.readyState])"""


@pytest.fixture(params=[False])
def page(host: Host, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Any]:
    assert isinstance(host, ComfyUIHost)
    folder = host.base / "output" / "ltxv_train"
    run = make_run(
        folder, NAME, ["a cat", "a dog"], sampled=[0, 10, 20], saved=[20], sound=request.param
    )
    try:
        with opened_page(host.url, tmp_path / "profile") as page:
            page.set_viewport_size({"width": 1400, "height": 950})
            page.locator(".ltxv-train-tab-button").click()
            page.locator(".ltxv-run", has_text=NAME).locator(".ltxv-name").click()
            page.get_by_role("tab", name="Samples", exact=True).click()
            page.locator(".ltxv-sample-table video").first.wait_for()
            yield page
            page.screenshot(path=str(host.base / "samples_last.png"))
    finally:
        shutil.rmtree(run.folder)


def open_first(page: Any) -> Any:
    page.get_by_role("button", name="a cat, step 20: open large").click()
    viewer = page.get_by_role("dialog", name="Samples")
    viewer.wait_for()
    return viewer


def title(viewer: Any) -> str:
    return viewer.get_by_role("status").inner_text()


def test_a_click_opens_a_sample_and_arrows_go_through_them(page: Any) -> None:
    heads = page.locator(".ltxv-sample-table thead th").all_inner_texts()
    assert heads == ["step 0", "step 10", "step 20"]
    viewer = open_first(page)
    assert title(viewer) == f"a cat · step 20 · {NAME}"
    video = viewer.locator("video")
    assert video.evaluate("video => video.controls && !video.muted && video.loop")
    page.wait_for_function("document.querySelector('.ltxv-one').currentTime > 0.1")
    assert video.bounding_box()["height"] > 600
    seen = []
    for key in ("ArrowLeft", "ArrowDown", "ArrowLeft", "ArrowLeft", "ArrowUp"):
        page.keyboard.press(key)
        seen.append(title(viewer).removesuffix(f" · {NAME}"))
    assert seen == [
        *("a cat · step 10", "a dog · step 10", "a dog · step 0"),
        *("a dog · step 0", "a cat · step 0"),
    ]
    assert video.evaluate("video => video.src").endswith("/samples/000000/000.mp4")
    page.keyboard.press("Escape")
    viewer.wait_for(state="detached")


def test_videos_of_the_grid_play_at_the_same_time(page: Any) -> None:
    viewer = open_first(page)
    viewer.get_by_role("tab", name="All steps").click()
    page.wait_for_function(f"({STATES})().every(([, , ready]) => ready >= 2)")
    pause = viewer.get_by_role("button", name="Pause", exact=True)
    page.wait_for_function(f"({STATES})().every(([time, paused]) => time > 0.2 && !paused)")
    spread = page.evaluate(f"({STATES})().map(([time]) => time)")
    assert len(spread) == 6
    assert max(spread) - min(spread) < 0.2
    pause.click()
    page.wait_for_timeout(300)
    stopped = page.evaluate(STATES)
    assert all(paused for _, paused, _ in stopped)
    assert len({round(time, 2) for time, _, _ in stopped}) == 1
    viewer.get_by_role("slider", name="Time").fill("0.5")
    page.wait_for_function(f"({STATES})().every(([time]) => Math.abs(time - 0.5) < 0.01)")
    viewer.get_by_role("button", name="Play", exact=True).click()
    page.wait_for_function(f"({STATES})().every(([time, paused]) => time > 0.6 && !paused)")


def test_a_border_moves_between_the_first_and_the_chosen_step(page: Any) -> None:
    viewer = open_first(page)
    viewer.get_by_role("tab", name="Before and after").click()
    page.wait_for_function(f"({STATES})().every(([, , ready]) => ready >= 2)")
    sources = viewer.locator("video").evaluate_all("all => all.map(video => video.src.slice(-14))")
    assert sources == ["000000/000.mp4", "000020/000.mp4"]
    stage = viewer.locator(".ltxv-wipe")
    assert stage.inner_text().split("\n") == ["step 0", "step 20"]
    box = stage.bounding_box()
    assert abs(box["width"] / box["height"] - 1.5) < 0.05

    def border() -> float:
        """Where the shown picture turns from dark (step 0) to bright (step 20)."""
        place = viewer.locator(".ltxv-after").evaluate(
            "video => getComputedStyle(video).clipPath.match(/([0-9.]+)%\\)/)[1]"
        )
        return float(place)

    assert border() == 50
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] / 4, box["y"] + box["height"] / 2, steps=4)
    page.mouse.up()
    assert abs(border() - 25) < 2
    viewer.get_by_role("slider", name="Border").press("ArrowRight")
    assert abs(border() - 25.5) < 2
    assert "step 20" in title(viewer)


@pytest.mark.parametrize("page", [True], indirect=True)
def test_sound_is_heard_where_a_file_has_some(page: Any) -> None:
    viewer = open_first(page)
    heard = "() => document.querySelector('.ltxv-one').webkitAudioDecodedByteCount > 0"
    page.wait_for_function(heard)
    viewer.get_by_role("tab", name="All steps").click()
    viewer.get_by_role("button", name="Sound on").click()
    muted = viewer.locator("video").evaluate_all("all => all.map(video => video.muted)")
    assert muted.count(False) == 1
    viewer.get_by_role("button", name="Sound off").click()
    assert viewer.locator("video").evaluate_all("all => all.every(video => video.muted)")


def test_without_sound_none_is_offered(page: Any) -> None:
    viewer = open_first(page)
    viewer.get_by_role("tab", name="All steps").click()
    page.wait_for_function(f"({STATES})().every(([time]) => time > 0.2)")
    assert viewer.get_by_role("button", name="Sound on").count() == 0


def test_a_sample_is_downloaded_and_its_lora_used(host: Host, page: Any) -> None:
    graph = json.loads(WHOLE.read_text(encoding="utf-8"))
    page.evaluate("graph => app.loadGraphData(graph)", graph)
    count = len(graph["nodes"])
    page.wait_for_function("count => app.graph.nodes.length === count", arg=count)
    viewer = open_first(page)
    with page.expect_download() as download:
        viewer.get_by_role("link", name="Download").click()
    assert download.value.suggested_filename == f"{NAME}-000020-1.mp4"
    page.keyboard.press("ArrowLeft")
    use = viewer.get_by_role("button", name="Use this step's LoRA")
    assert use.is_disabled()
    assert "No LoRA of step 10" in (use.get_attribute("title") or "")
    page.keyboard.press("ArrowRight")
    use.click()
    question = page.get_by_role("dialog", name="Which nodes use the LoRA?")
    question.get_by_role("checkbox", name="Sample before").uncheck()
    question.get_by_role("button", name="Place", exact=True).click()
    page.wait_for_function("count => app.graph.nodes.length === count + 1", arg=count)
    found = page.evaluate(
        """async () => {
            const { output } = await app.graphToPrompt();
            const node = app.graph.nodes.at(-1);
            const box = ({ pos, size }) => [pos[0], pos[1] - 30, size[0], size[1] + 30];
            const meet = ([x, y, w, h], [p, q, r, s]) => x < p + r && p < x + w && y < q + s && q < y + h;
            const others = app.graph.nodes.slice(0, -1);
            const users = Object.values(output)
                .filter(({ inputs }) => Object.values(inputs).some(value => value?.[0] === String(node.id)))
                .map(({ class_type }) => class_type);
            const [left, top, width, height] = app.canvas.ds.visible_area;
            return {
                lora: output[node.id].inputs.lora_name,
                from: output[output[node.id].inputs.model[0]].class_type,
                users,
                covered: others.filter(each => meet(box(each), box(node))).map(({ type }) => type),
                width: node.size[0],
                seen: node.pos[0] >= left && node.pos[0] + node.size[0] <= left + width,
            };
        }"""
    )
    assert Path(found["lora"]).name == f"{NAME}-000020.safetensors"
    assert found["from"] == "CheckpointLoaderSimple"
    assert found["users"] == ["LTXVTrainLoadLoRA"]
    assert found["covered"] == []
    assert found["width"] >= 7 * len(found["lora"])
    assert found["seen"]


def test_nothing_is_placed_where_the_question_is_cancelled(page: Any) -> None:
    graph = json.loads(WHOLE.read_text(encoding="utf-8"))
    page.evaluate("graph => app.loadGraphData(graph)", graph)
    count = len(graph["nodes"])
    page.wait_for_function("count => app.graph.nodes.length === count", arg=count)
    page.get_by_role("button", name="Use LoRA").last.click()
    question = page.get_by_role("dialog", name="Which nodes use the LoRA?")
    question.wait_for()
    page.keyboard.press("Escape")
    page.get_by_text("Nothing was placed.").wait_for()
    assert page.evaluate("app.graph.nodes.length") == count
