"""Charts in ComfyUI's own interface: what they show, two runs over each other, and as files."""

import csv
import io
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from ltxv_train_core.lora.file import write_lora_file
from ltxv_train_core.runs import RunFolder
from ltxv_train_core.runs.held_out_file import HeldOutLosses
from ltxv_train_core.runs.metrics_file import write_steps
from tests.comfyui.browser import opened_page
from tests.comfyui.host import ComfyUIHost
from tests.host import Host
from tests.nodes.made_runs import make_run

pytestmark = [
    pytest.mark.comfyui,
    pytest.mark.slow,
    pytest.mark.parametrize("host", ["comfyui"], indirect=True),
]

NAMES = ("measured-0123456789ab", "earlier-0123456789ab")
COLOURS = {"#3b97d3": (59, 151, 211), "#e08a3c": (224, 138, 60), "#45a876": (69, 168, 118)}
DRAWN = """() => {
    const canvas = document.querySelector(".ltxv-side canvas");
    const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
    const count = {};
    for (let i = 0; i < data.length; i += 4) {
        if (data[i + 3] < 250) continue;
        const key = `${data[i]},${data[i + 1]},${data[i + 2]}`;
        count[key] = (count[key] ?? 0) + 1;
    }
    return count;
}"""


BLOCKS = 28


def lora_tensors() -> dict[str, torch.Tensor]:
    """A LoRA that changes later blocks more."""
    tensors = {}
    for block in range(BLOCKS):
        for factor, kind in ((0.3, "to_k"), (1.0, "to_q")):
            name = f"transformer_blocks.{block}.attn1.{kind}"
            tensors[f"{name}.lora_A.weight"] = torch.ones(2, 8)
            tensors[f"{name}.lora_B.weight"] = torch.full((8, 2), factor * (block + 1))
    return tensors


@pytest.fixture
def page(host: Host, tmp_path: Path) -> Iterator[Any]:
    """Two runs, of which one has memory and noise levels."""
    assert isinstance(host, ComfyUIHost)
    folder = host.base / "output" / "ltxv_train"
    runs = [make_run(folder, name, [], sampled=[], saved=[]) for name in NAMES]
    more = {"loss_by_noise": (0.1, 0.2, 0.3, 0.4), "loss_by_data_set": (0.5, 0.25, 0.1)}
    steps = [replace(s, memory_bytes=3.0 * 2**30, **more) for s in runs[0].metrics()]
    write_steps(runs[0].metrics_file, steps)
    higher = [replace(s, loss=3 - s.loss) for s in runs[1].metrics()]
    write_steps(runs[1].metrics_file, higher)
    try:
        with opened_page(host.url, tmp_path / "profile") as page:
            page.set_viewport_size({"width": 1400, "height": 950})
            broken: list[str] = []
            page.on("pageerror", lambda error: broken.append(f"{error.message} {error.stack}"))
            page.locator(".ltxv-train-tab-button").click()
            page.locator(".ltxv-run", has_text=NAMES[0]).locator(".ltxv-name").click()
            page.locator(".ltxv-legend", has_text="loss 0.025").wait_for()
            yield page
            page.screenshot(path=str(host.base / "charts_last.png"))
            assert [each for each in broken if "chart" in each] == []
    finally:
        for run in runs:
            shutil.rmtree(run.folder)


def choose_both(page: Any) -> None:
    page.locator(".ltxv-run", has_text=NAMES[1]).locator("input").click()
    page.locator(".ltxv-legend .ltxv-name").nth(1).wait_for()
    page.wait_for_timeout(500)


def seen(page: Any) -> set[str]:
    """Which colours of curves a chart shows."""
    found = page.evaluate(DRAWN)
    return {name for name, rgb in COLOURS.items() if found.get(",".join(map(str, rgb)), 0) > 100}


def show(page: Any, view: str) -> None:
    page.get_by_role("tablist", name="Chart").get_by_role("tab", name=view, exact=True).click()
    page.wait_for_timeout(200)


def test_every_view_draws_what_was_recorded(page: Any) -> None:
    for view in ("Loss", "Log scale", "Rate", "Memory", "Time"):
        show(page, view)
        assert seen(page) == {"#3b97d3"}, view
        name = page.locator(".ltxv-side canvas").get_attribute("aria-label")
        assert name == f"{view} over steps of the chosen runs"
    show(page, "Data sets")
    assert seen(page) == set(COLOURS)
    page.locator(".ltxv-side canvas").hover()
    show(page, "Noise")
    assert seen(page) == set(COLOURS)  # and a fourth one


def test_the_best_step_by_held_out_clips_is_seen(host: Host, page: Any) -> None:
    assert isinstance(host, ComfyUIHost)
    run = RunFolder(host.base / "output" / "ltxv_train" / NAMES[0])
    show(page, "Held out")
    assert seen(page) == set(), "nothing is held out yet"
    sets = ("one", "two")
    for step, loss in ((0, 3.0), (20, 1.0), (40, 2.0)):
        moved = {"moved": step / 80, "moved_without_prompt": step / 160}
        run.append_held_out(
            HeldOutLosses(step, (0.5,), ((loss,), (loss + 0.5,)), **moved, data_sets=sets)
        )
    for step in (20, 40):
        write_lora_file(run.lora_file(step), lora_tensors(), 2, 2, {})
    page.reload()
    page.locator(".ltxv-train-tab-button").click()
    page.locator(".ltxv-run", has_text=NAMES[0]).locator(".ltxv-name").click()
    text = page.locator(
        ".ltxv-current", has_text="best step 20: held-out loss 1.2500, 61.5 % below"
    )
    text.wait_for()
    assert "learns its clips by heart (overfitting)" in text.inner_text()
    assert "Without a prompt it has moved 12 % from its base" in text.inner_text()
    show(page, "Held out")
    assert seen(page) == {"#3b97d3", "#e08a3c"}
    page.locator(".ltxv-side canvas").hover()
    page.screenshot(path=str(host.base / "held_out.png"))
    show(page, "Moved")
    assert seen(page) == {"#3b97d3", "#e08a3c"}
    page.screenshot(path=str(host.base / "moved.png"))
    page.get_by_role("tab", name="LoRA", exact=True).click()
    rows = page.locator(".ltxv-lora .ltxv-name").all_inner_texts()
    assert rows == ["step 40", "step 20, best held-out loss"]
    page.locator(".ltxv-lora", has_text="best held-out loss").get_by_text("Layers").click()
    layers = page.locator(".ltxv-layers")
    layers.wait_for()
    assert layers.locator("tbody tr").count() == BLOCKS
    assert layers.locator("thead th").all_inner_texts() == ["attn1.to_k", "attn1.to_q"]
    darkest = layers.get_by_label(f"block {BLOCKS - 1}, attn1.to_q")
    assert darkest.evaluate("cell => Number(cell.style.getPropertyValue('--ltxv-share'))") == 1
    page.screenshot(path=str(host.base / "held_out_loras.png"))


def test_two_runs_are_drawn_over_each_other(page: Any) -> None:
    choose_both(page)
    assert seen(page) == {"#3b97d3", "#e08a3c"}
    show(page, "Memory")  # of the other run none was recorded
    assert seen(page) == {"#3b97d3"}
    page.locator(".ltxv-run", has_text=NAMES[1]).locator(".ltxv-name").click()
    page.wait_for_timeout(300)
    assert seen(page) == set()


def test_a_chart_is_saved_as_a_picture(page: Any) -> None:
    choose_both(page)
    show(page, "Log scale")
    with page.expect_download() as download:
        page.get_by_role("button", name="Save as PNG").click()
    assert download.value.suggested_filename == "log-scale-2-runs.png"
    with Image.open(download.value.path()) as picture:
        assert picture.size == (2000, 1240)
        colours = {rgb for _, rgb in picture.convert("RGB").getcolors(2**24) or ()}
        assert {COLOURS["#3b97d3"], COLOURS["#e08a3c"]} <= colours
        corner = picture.convert("RGB").getpixel((2, 2))
    ground = page.evaluate(
        "getComputedStyle(document.querySelector('.ltxv-side')).getPropertyValue('--comfy-menu-bg')"
    )
    assert corner == tuple(int(ground.strip()[i : i + 2], 16) for i in (1, 3, 5))


def test_steps_are_saved_as_a_table(page: Any) -> None:
    choose_both(page)
    with page.expect_download() as download:
        page.get_by_role("button", name="Save as CSV").click()
    assert download.value.suggested_filename == "2-runs.csv"
    text = Path(download.value.path()).read_text(encoding="utf-8")
    rows = list(csv.DictReader(io.StringIO(text)))
    assert [row["run"] for row in rows] == [NAMES[0]] * 40 + [NAMES[1]] * 40
    assert float(rows[3]["loss"]) == 0.25
    assert float(rows[3]["memory_bytes"]) == 3 * 2**30
    assert rows[3]["loss_noise_75_percent"] == "0.4"
    assert rows[43]["memory_bytes"] == ""
