"""The widgets of our nodes in ComfyUI's own interface: which show, what they are called, how a node is found."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.comfyui.browser import opened_page
from tests.comfyui.host import ComfyUIHost
from tests.host import Host
from tests.nodes.test_schemas import WORDS

pytestmark = [
    pytest.mark.comfyui,
    pytest.mark.slow,
    pytest.mark.parametrize("host", ["comfyui"], indirect=True),
]

PREPROCESS, TRAIN = "LTXVTrainDatasetPreprocess", "LTXVTrainLoRA"
LOADED = "window.app?.graph && Object.keys(LiteGraph.registered_node_types).length > 50"
ADD = """type => {
    app.graph.clear();
    const node = LiteGraph.createNode(type);
    node.pos = [0, 0];
    app.graph.add(node);
    Object.assign(app.canvas.ds, { scale: 0.6, offset: [150, 100] });
    app.canvas.setDirty(true, true);
}"""
SHOWN = """() => {
    const [node] = app.graph.nodes;
    return node.widgets.filter(each => node.isWidgetVisible(each)).map(each => each.label ?? each.name);
}"""
SHOW, HIDE = "Show advanced inputs", "Hide advanced inputs"


@pytest.fixture
def page(host: Host, tmp_path: Path) -> Iterator[Any]:
    assert isinstance(host, ComfyUIHost)
    with opened_page(host.url, tmp_path / "profile") as page:
        page.set_viewport_size({"width": 1400, "height": 950})
        yield page
        page.screenshot(path=str(host.base / "widgets.png"))
        _set(page, {"Comfy.Locale": "en", "Comfy.VueNodes.Enabled": False})


@pytest.fixture
def newer(host: Host) -> None:
    if "search_aliases" not in host.object_info()[TRAIN]:
        pytest.skip("this version knows no search words")


def _set(page: Any, settings: dict[str, Any]) -> None:
    page.request.post(f"{page.url.split('?')[0].rstrip('/')}/settings", data=settings)


def _reload(page: Any, settings: dict[str, Any]) -> None:
    _set(page, settings)
    page.reload()
    page.wait_for_function(LOADED, timeout=120_000)
    page.wait_for_timeout(2000)  # words of the packs come after the nodes


def _click_widget(page: Any, name: str) -> None:
    x, y = page.evaluate(
        """name => {
            const [node] = app.graph.nodes;
            const widget = node.widgets.find(each => each.name === name);
            const { ds, canvas } = app.canvas;
            const { left, top } = canvas.getBoundingClientRect();
            const at = [node.pos[0] + node.size[0] / 2, node.pos[1] + widget.last_y + 10];
            return at.map((value, axis) => (value + ds.offset[axis]) * ds.scale + [left, top][axis]);
        }""",
        name,
    )
    page.mouse.click(x, y)


def test_the_classic_canvas_shows_advanced_widgets_on_demand(page: Any) -> None:
    page.evaluate(ADD, PREPROCESS)
    page.wait_for_timeout(500)
    shown = page.evaluate(SHOWN)
    assert shown[:2] == ["Dataset path", "Model source"]
    assert len(shown) == 9
    assert shown[-1] == SHOW
    low = page.evaluate("app.graph.nodes[0].size[1]")
    every = page.evaluate("app.graph.nodes[0].widgets.length")
    assert every > 30
    values = page.evaluate("app.graph.nodes[0].serialize().widgets_values")
    _click_widget(page, "ltxv_train_advanced")
    page.wait_for_timeout(500)
    shown = page.evaluate(SHOWN)
    assert len(shown) == every
    assert shown[-1] == HIDE
    assert page.evaluate("app.graph.nodes[0].size[1]") > 2 * low
    # Values stand where they stood, and an opened node opens again as it was left.
    saved = page.evaluate("app.graph.serialize()")
    assert saved["nodes"][0]["widgets_values"] == values
    assert len(values) == every - 1
    page.evaluate("graph => app.loadGraphData(graph)", saved)
    page.wait_for_timeout(1000)
    assert len(page.evaluate(SHOWN)) == every
    _click_widget(page, "ltxv_train_advanced")
    page.wait_for_timeout(500)
    assert len(page.evaluate(SHOWN)) == 9

    page.evaluate(ADD, TRAIN)
    page.wait_for_timeout(500)
    assert page.evaluate(SHOWN) == ["Mode", SHOW, "ltxv_train_panel"]


def test_a_linked_advanced_widget_shows(page: Any) -> None:
    page.evaluate(ADD, PREPROCESS)
    page.evaluate(
        """() => {
            const [node] = app.graph.nodes;
            const text = LiteGraph.createNode("PrimitiveString");
            app.graph.add(text);
            text.connect(0, node, node.inputs.findIndex(each => each.name === "output_dir"));
        }"""
    )
    assert "Output folder" in page.evaluate(SHOWN)


def test_a_connected_model_hides_the_widgets_that_name_one(page: Any) -> None:
    for kind in (PREPROCESS, "LTXVTrainRecipe"):
        page.evaluate(ADD, kind)
        before = page.evaluate(SHOWN)
        assert {"Model source", "Model file"} <= set(before)
        high = page.evaluate("app.graph.nodes[0].size[1]")
        page.evaluate(
            """() => {
                const [node] = app.graph.nodes;
                const model = LiteGraph.createNode("LTXVTrainModelConfig");
                app.graph.add(model);
                model.connect(0, node, node.inputs.findIndex(each => each.name === "model"));
            }"""
        )
        linked = page.evaluate(SHOWN)
        assert not [
            each for each in linked if re.match("(Model|Text encoder|VAE) (source|file)", each)
        ]
        assert len(linked) < len(before)
        assert page.evaluate("app.graph.nodes[0].size[1]") < high
        page.evaluate(
            "app.graph.nodes[0].disconnectInput(app.graph.nodes[0].findInputSlot('model'))"
        )
        assert page.evaluate(SHOWN) == before


@pytest.mark.usefixtures("newer")
def test_nodes_made_of_elements_show_the_same(page: Any) -> None:
    _reload(page, {"Comfy.VueNodes.Enabled": True})
    page.evaluate(ADD, PREPROCESS)
    node = page.locator("[data-node-id]")
    node.get_by_text("Dataset path").wait_for()
    assert node.get_by_text("Verify clips").count() == 0
    assert node.get_by_text(SHOW).count() == 1  # ComfyUI's own
    node.get_by_text(SHOW).click()
    node.get_by_text("Verify clips").wait_for()


def test_names_are_in_the_language_of_the_interface(page: Any) -> None:
    """Russian has no words of ours: it shows English, and the ids of outputs."""
    for language, title, widget, output in (
        ("fr", "Prétraiter un jeu de données LTXV", "Chemin du jeu de données", "Résumé"),
        ("zh", "预处理数据集（LTXV）", "数据集路径", "摘要"),
        ("ru", "Preprocess LTXV Dataset", "Dataset path", "summary"),
    ):
        _reload(page, {"Comfy.Locale": language})
        page.evaluate(ADD, PREPROCESS)
        assert page.evaluate("app.graph.nodes[0].title") == title
        shown = page.evaluate("app.graph.nodes[0].widgets.map(each => each.label)")
        named = page.evaluate("app.graph.nodes[0].outputs.map(each => each.localized_name)")
        assert (shown[0], named[1]) == (widget, output), language
        placeholder = page.evaluate(
            "app.graph.nodes[0].widgets.find(each => each.element).element.placeholder"
        )
        assert "_" not in placeholder


@pytest.mark.usefixtures("newer")
def test_the_search_finds_what_is_meant(page: Any, host: Host) -> None:
    titles = {name: node["display_name"] for name, node in host.object_info().items()}
    page.evaluate("app.graph.clear()")
    page.mouse.dblclick(600, 600)
    search = page.get_by_role("combobox", name="Add a node...")
    for word, meant in WORDS:
        search.fill(word)
        page.get_by_role("option").filter(has_text=titles[meant]).first.wait_for(state="attached")
