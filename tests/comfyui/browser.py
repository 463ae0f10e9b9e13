"""ComfyUI's interface in a headless Chromium, driven through `window.app`."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

ARGUMENTS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)


@contextmanager
def opened_page(url: str, profile: Path) -> Iterator[Any]:
    """A page of the interface, ready to be used. Skips where there is no Chromium to drive."""
    api = pytest.importorskip("playwright.sync_api")
    browser = os.environ.get("CHROMIUM") or shutil.which("chromium")
    if not browser:
        pytest.skip("no chromium on the path; set CHROMIUM to one")
    with api.sync_playwright() as playwright:
        context = playwright.chromium.launch_persistent_context(
            str(profile), executable_path=browser, args=list(ARGUMENTS)
        )
        page = context.pages[0] if context.pages else context.new_page()
        page.request.post(f"{url}/settings", data={"Comfy.TutorialCompleted": True})
        page.goto(url, wait_until="domcontentloaded", timeout=120_000)
        page.wait_for_function(
            "window.app?.graph && Object.keys(window.LiteGraph.registered_node_types).length > 50",
            timeout=120_000,
        )
        # The graph that it opens with, which would take the place of one that is loaded before.
        page.wait_for_function("window.app.graph.nodes.length > 0", timeout=120_000)
        yield page
        context.close()


def drop_file(page: Any, name: str, content_url: str) -> None:
    """Drops a file, read from the server, onto the canvas as a user does with the mouse."""
    page.evaluate(
        """async ([name, url]) => {
            const content = await (await fetch(url)).blob();
            const files = new DataTransfer();
            // Of a file on a disk the browser tells the type of media alone.
            const type = content.type.startsWith("application/") ? "" : content.type;
            files.items.add(new File([content], name, { type }));
            const canvas = document.querySelector("canvas#graph-canvas");
            canvas.dispatchEvent(new DragEvent("drop", {
                dataTransfer: files, bubbles: true, cancelable: true,
            }));
        }""",
        [name, content_url],
    )


def node_types(page: Any) -> list[str]:
    """The types of all nodes on the canvas, sorted."""
    return sorted(page.evaluate("window.app.graph.nodes.map(node => node.type)"))
