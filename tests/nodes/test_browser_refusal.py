"""A wrong value, as ComfyUI's own interface tells it: once, with what to write."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.comfyui.browser import opened_page
from tests.host import Host
from tests.nodes.test_prompt_check import whole

pytestmark = [
    pytest.mark.comfyui,
    pytest.mark.slow,
    pytest.mark.parametrize("host", ["comfyui"], indirect=True),
]


@pytest.fixture
def page(host: Host, tmp_path: Path) -> Iterator[Any]:
    with opened_page(host.url, tmp_path / "profile") as page:
        yield page


def test_a_wrong_value_is_told_once_and_nothing_runs(host: Host, page: Any) -> None:
    graph, nodes = whole(host, validation={"video_dims": "100x96x17"})
    before = len(host.get("/history"))
    page.evaluate("graph => app.loadApiJson(graph, 'wrong')", graph.prompt)
    page.evaluate("app.queuePrompt(0)")
    told = page.get_by_text("the nearest is 96x96x17")
    told.first.wait_for()
    page.wait_for_timeout(500)
    page.screenshot(path=str(host.base / "refused.png"))
    assert told.count() == 1
    assert "video_dims" in told.first.inner_text()
    assert len(host.get("/history")) == before
    marked = page.evaluate(
        """() => app.graph.nodes
            .filter(node => node.has_errors || app.lastNodeErrors?.[node.id])
            .map(node => String(node.id))"""
    )
    assert marked == [nodes["validation"].id]
