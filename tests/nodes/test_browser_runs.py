"""The panel with 500 runs in ComfyUI's own interface, with real clicks."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ltxv_train_core.events import StepCompleted
from ltxv_train_core.runs import RunFolder, RunState
from ltxv_train_core.runs.metrics_file import write_steps
from ltxv_train_core.runs.state import Failure
from tests.comfyui.browser import opened_page
from tests.comfyui.host import ComfyUIHost
from tests.host import Host

pytestmark = [
    pytest.mark.comfyui,
    pytest.mark.slow,
    pytest.mark.parametrize("host", ["comfyui"], indirect=True),
]

RUNS, STEPS = 500, 60
MOST_MS = 100
MOST_ELEMENTS = 800
FAILED = Failure("cuda", "the first step does not fit into memory", "Choose a smaller rank")


def make_runs(folder: Path) -> None:
    for number in range(RUNS):
        style = ("watercolour", "pencil", "clay")[number % 3]
        run = RunFolder(folder / f"many-{style}-of-a-rather-long-name-{number:04d}-{number:012x}")
        run.folder.mkdir(parents=True)
        steps = [
            StepCompleted(k, STEPS, 2 / (k + number % 17), 1e-4, 0.5, 0.1, 1.0)
            for k in range(1, STEPS + 1)
        ]
        state = RunState.new(STEPS, fingerprint=f"{number:012x}", data="dc"[number % 2]).moved(
            "running"
        )
        if number % 7 == 3:
            run.write_state(state.moved("failed", cause=FAILED))
        else:
            write_steps(run.metrics_file, steps)
            status = "finished" if number % 2 else "stopped"
            run.write_state(state.moved(status, step=STEPS))
        model = "LTXV_MINIATURE" if number % 4 else "ltxv-2b-0.9.6-dev.safetensors"
        data = f"data:\n  preprocessed_data_root: /data/{'cats' if number % 2 else 'dogs'}\n"
        run.config_file.write_text(f"model:\n  model_source: {model}\n{data}", encoding="utf-8")


@pytest.fixture
def page(host: Host, tmp_path: Path) -> Iterator[Any]:
    assert isinstance(host, ComfyUIHost)
    runs, others = host.base / "output" / "ltxv_train", host.base / "runs_of_other_tests"
    if runs.exists():
        runs.rename(others)
    make_runs(runs)
    try:
        with opened_page(host.url, tmp_path / "profile") as page:
            page.set_viewport_size({"width": 1400, "height": 950})
            page.locator(".ltxv-train-tab-button").click()
            page.locator(".ltxv-run").first.wait_for()
            yield page
            page.screenshot(path=str(host.base / "runs_last.png"))
    finally:
        shutil.rmtree(runs)
        if others.exists():
            others.rename(runs)


def names(page: Any) -> list[str]:
    return page.locator(".ltxv-run .ltxv-name").all_inner_texts()


def slowest(page: Any, act: str) -> float:
    """Milliseconds from an action to the frame that shows it, the median of five."""
    times = page.evaluate(
        f"""async () => {{
            const frame = () => new Promise(requestAnimationFrame);
            const side = document.querySelector(".ltxv-side");
            const one = (what) => side.querySelector(what);
            const set = (field, value) => {{
                field.value = value;
                field.dispatchEvent(new Event(field.type === "search" ? "input" : "change"));
            }};
            const times = [];
            for (let turn = 0; turn < 5; turn += 1) {{
                await frame();
                const began = performance.now();
                {act};
                await frame();
                side.getBoundingClientRect();
                times.push(performance.now() - began);
            }}
            return times;
        }}"""
    )
    return sorted(times)[2]


def test_a_list_of_500_is_quick_and_small(page: Any) -> None:
    assert page.locator(".ltxv-count").inner_text() == f"{RUNS} runs"
    elements = page.evaluate("document.querySelector('.ltxv-side').querySelectorAll('*').length")
    acts = {
        "search": "set(one('.ltxv-search'), ['clay', 'pencil 4', '', '00', 'w'][turn])",
        "order": "set(one('.ltxv-select'), ['name', 'loss', 'oldest', 'newest', 'name'][turn])",
        "state": "set(one('select[aria-label=State]'), turn % 2 ? 'failed' : '')",
        "scroll": "one('.ltxv-list').scrollTop = 3000 * turn",
        "choose": "side.querySelectorAll('.ltxv-run')[turn].click()",
        "tab": "side.querySelectorAll('.ltxv-tabs')[0].children[turn % 4].click()",
    }
    times = {name: round(slowest(page, act), 1) for name, act in acts.items()}
    print(f"{elements} elements; milliseconds: {times}")
    assert elements < MOST_ELEMENTS
    assert max(times.values()) < MOST_MS


def test_runs_are_found_ordered_and_filtered(page: Any) -> None:
    side = page.locator(".ltxv-side")
    side.get_by_label("Search runs by name").fill("CLAY name-0002")
    side.get_by_text(f"1 of {RUNS} runs").wait_for()
    (only,) = names(page)
    assert only.startswith("many-clay-of-a-rather-long-name-0002")
    assert only in (side.locator(".ltxv-run").get_attribute("title") or "")
    side.get_by_label("Search runs by name").fill("")
    side.get_by_label("Order").select_option("loss")
    losses = [float(each) for each in side.locator(".ltxv-loss").all_inner_texts()[:10]]
    assert losses == sorted(losses)
    side.get_by_label("State").select_option("failed")
    page.wait_for_timeout(100)
    assert set(side.locator(".ltxv-run .ltxv-status").all_inner_texts()) == {"failed"}
    side.get_by_label("State").select_option("")
    side.get_by_label("Model").select_option("ltxv-2b-0.9.6-dev.safetensors")
    assert side.locator(".ltxv-count").inner_text() == f"{RUNS // 4} of {RUNS} runs"


def test_runs_are_grouped_and_stay_quick(page: Any) -> None:
    page.get_by_label("Group").select_option("data")
    page.wait_for_timeout(200)
    heads = page.locator(".ltxv-group").all_inner_texts()
    assert len(heads) == 1
    assert heads[0].startswith("cats") or heads[0].startswith("dogs")
    page.locator(".ltxv-list").evaluate("list => list.scrollTop = list.scrollHeight")
    page.wait_for_timeout(200)
    last = page.locator(".ltxv-run").last
    assert last.get_attribute("aria-posinset") == str(RUNS)
    took = slowest(page, "one('.ltxv-list').scrollTop = 2500 * turn")
    took = max(took, slowest(page, "set(one('select[aria-label=Group]'), turn % 2 ? 'data' : '')"))
    print(f"groups: {took:.1f} ms")
    assert took < MOST_MS


def test_a_run_gets_a_name_and_a_note(host: Host, page: Any) -> None:
    page.get_by_label("Order").select_option("name")
    page.locator(".ltxv-run").first.click()
    current = page.locator(".ltxv-current")
    folder = current.locator("> .ltxv-name").inner_text()
    current.get_by_role("button", name="Rename …").click()
    page.keyboard.type("Zebra, second try")
    current.get_by_label("Note on the run").fill("better than rank 8 <b>")
    current.get_by_role("button", name="Save").click()
    current.locator("> .ltxv-name", has_text="Zebra, second try").wait_for()
    assert current.locator(".ltxv-folder").inner_text() == folder
    assert current.locator(".ltxv-note").inner_text() == "better than rank 8 <b>"
    page.wait_for_function("document.activeElement.textContent === 'Rename …'")
    page.get_by_label("Search runs by name").fill("zebra rank")
    page.wait_for_timeout(200)
    assert names(page) == ["Zebra, second try"]
    hint = page.locator(".ltxv-run").get_attribute("title") or ""
    assert folder in hint
    assert "better than rank 8" in hint
    runs = host.base / "output" / "ltxv_train"
    assert (runs / folder / "label.json").is_file()
    current.get_by_role("button", name="Rename …").click()
    page.keyboard.type("x")
    page.keyboard.press("Escape")
    assert current.get_by_role("form").count() == 0
    assert current.locator("> .ltxv-name").inner_text() == "Zebra, second try"


def test_a_node_that_grows_covers_no_other(page: Any) -> None:
    tops = page.evaluate(
        """async () => {
            app.graph.clear();
            const [train, below, beside] = ["LTXVTrainLoRA", "LTXVTrainConfig", "LTXVTrainConfig"].map((type) => {
                const node = LiteGraph.createNode(type);
                app.graph.add(node);
                return node;
            });
            train.pos = [0, 0];
            below.pos = [20, train.size[1] + 50];
            beside.pos = [2000, train.size[1] + 50];
            const before = beside.pos[1];
            train.setSize([train.size[0], train.size[1] + 300]);
            return [train.size[1], below.pos[1] - 30, beside.pos[1] - before];
        }"""
    )
    assert tops[1] >= tops[0] + 20
    assert tops[2] == 0


def test_the_list_is_used_with_the_keyboard(page: Any) -> None:
    listbox = page.get_by_role("listbox", name="Training runs")
    page.get_by_label("Order").select_option("name")
    listbox.focus()
    page.keyboard.press("End")
    page.wait_for_timeout(100)
    active = listbox.get_attribute("aria-activedescendant")
    option = page.locator(f"#{active}")
    assert option.get_attribute("aria-posinset") == option.get_attribute("aria-setsize") == "500"
    last = option.locator(".ltxv-name").inner_text()
    page.keyboard.press("Enter")
    page.locator(".ltxv-current > .ltxv-name", has_text=last).wait_for()
    page.keyboard.press("ArrowUp")
    page.keyboard.press("Space")
    page.wait_for_timeout(100)
    assert page.locator(".ltxv-run[aria-selected=true]").count() == 2
    page.get_by_role("tab", name="Chart").focus()
    page.keyboard.press("ArrowRight")
    assert page.get_by_role("tab", name="Samples").get_attribute("aria-selected") == "true"


def test_what_a_failed_run_offers_and_what_deleting_takes(host: Host, page: Any) -> None:
    page.get_by_label("State").select_option("failed")
    page.locator(".ltxv-run").first.click()
    current = page.locator(".ltxv-current")
    current.get_by_text(FAILED.message).wait_for()
    assert not current.get_by_role("button", name="Resume").is_visible()
    name = current.locator("> .ltxv-name").inner_text()
    current.get_by_role("button", name="Delete …").click()
    said = current.get_by_role("alertdialog").inner_text()
    assert "checkpoints" in said
    assert "Stays: the data set" in said
    current.get_by_role("button", name="Keep").click()
    assert (host.base / "output" / "ltxv_train" / name).is_dir()
    current.get_by_role("button", name="Delete …").click()
    current.get_by_role("button", name="Delete", exact=True).click()
    page.wait_for_function(
        "name => document.querySelector('.ltxv-current > .ltxv-name').textContent !== name",
        arg=name,
    )
    assert not (host.base / "output" / "ltxv_train" / name).exists()
    page.get_by_label("State").select_option("stopped")
    page.locator(".ltxv-run").first.click()
    current.get_by_role("button", name="Resume").wait_for()


def test_panel_and_chart_follow_the_palette_at_once(host: Host, page: Any) -> None:
    """Light text on dark, and dark text on light; the chart's labels too."""
    seen = {}
    page.get_by_label("State").select_option("stopped")
    page.locator(".ltxv-run").first.click()
    page.wait_for_timeout(500)
    for palette in ("light", "dark"):
        page.evaluate("id => app.extensionManager.setting.set('Comfy.ColorPalette', id)", palette)
        page.wait_for_timeout(300)
        seen[palette] = page.evaluate(
            """() => {
                const canvas = document.querySelector(".ltxv-side canvas");
                const { data } = canvas.getContext("2d").getImageData(0, 0, 60, canvas.height);
                const lights = [];
                for (let i = 0; i < data.length; i += 4) {
                    const isGrey = Math.max(...data.slice(i, i + 3)) - Math.min(...data.slice(i, i + 3)) < 20;
                    if (isGrey && data[i + 3] > 240) lights.push(data[i]);
                }
                const rgb = getComputedStyle(document.querySelector(".ltxv-side")).color.match(/[0-9]+/g);
                return { text: Number(rgb[0]), chart: lights.reduce((a, b) => a + b, 0) / lights.length };
            }"""
        )
        page.screenshot(path=str(host.base / f"runs_{palette}.png"))
    assert seen["light"]["text"] < 110 < seen["dark"]["text"]
    assert seen["light"]["chart"] < 110 < seen["dark"]["chart"]


def test_the_wheel_over_a_panel_zooms_the_canvas(host: Host, page: Any) -> None:
    assert isinstance(host, ComfyUIHost)
    page.evaluate(
        """() => {
            const node = LiteGraph.createNode("LTXVTrainLoRA");
            app.graph.clear();
            app.graph.add(node);
            [app.canvas.ds.scale, node.pos] = [1, [0, 0]];
            [app.canvas.ds.offset[0], app.canvas.ds.offset[1]] = [800, 200];
            app.canvas.setDirty(true, true);
        }"""
    )
    panel = page.locator(".ltxv-node")
    panel.wait_for(state="visible")
    panel.hover()
    before = page.evaluate("app.canvas.ds.scale")
    page.mouse.wheel(0, -240)
    page.wait_for_function("before => app.canvas.ds.scale > before * 1.05", arg=before)
