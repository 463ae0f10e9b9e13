"""Records the template First LoRA while it runs in a real ComfyUI: docs/pictures/canvas.webp.

COMFYUI_PATH=... COMFYUI_PYTHON=... python -m tools.write_canvas_picture

It starts ComfyUI and a Chromium as the tests do (extra `browser`), presses Run, takes a picture every second
and joins those that differ. Some minutes on a CPU.
"""

import argparse
import io
import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from PIL import Image, ImageChops

from tests.comfyui.browser import opened_page
from tests.comfyui.host import ComfyUIHost

ROOT = Path(__file__).resolve().parent.parent
TEMPLATE = ROOT / "example_workflows" / "First LoRA on the miniature.json"
VIEW_PX, SHOWN_PX, PICTURE_PX = (1400, 950), (40, 36, 1400, 836), (1020, 600)
LARGEST_BYTES = 2_000_000
QUALITIES = (80, 65, 50, 35)
MOST_FRAMES, FRAME_MS, LAST_MS = 28, 350, 4000
WAIT_SECONDS = 900
_ALIKE = 6
"""Of 255: pictures whose largest difference is less are the same."""


class Recorder:
    """Takes pictures of the page, without those that show nothing new."""

    def __init__(self, page: Any):
        self.page, self.frames = page, list[Image.Image]()

    def take(self) -> None:
        """Adds what the page shows, unless it is what it showed before."""
        whole = Image.open(io.BytesIO(self.page.screenshot()))
        frame = whole.convert("RGB").crop(SHOWN_PX).resize(PICTURE_PX, Image.Resampling.LANCZOS)
        if not self.frames or _differ(self.frames[-1], frame):
            self.frames.append(frame)

    def until(self, is_done: Callable[[], bool], every_ms: int = 1000) -> None:
        """Takes pictures until something is so.

        Raises:
            TimeoutError: it took too long.
        """
        deadline = time.monotonic() + WAIT_SECONDS
        while not is_done():
            if time.monotonic() > deadline:
                raise TimeoutError(f"not done after {WAIT_SECONDS} seconds")
            self.take()
            self.page.wait_for_timeout(every_ms)


def _differ(one: Image.Image, other: Image.Image) -> bool:
    return max(high for _, high in ImageChops.difference(one, other).getextrema()) > _ALIKE


def open_template(page: Any) -> None:
    """The template, with all of its nodes in view."""
    page.evaluate("app.extensionManager?.setting.set('Comfy.Minimap.Visible', false)")
    page.evaluate("graph => app.loadGraphData(graph)", json.loads(TEMPLATE.read_text("utf-8")))
    page.wait_for_function("app.graph.nodes.length >= 7")
    page.evaluate(
        """() => {
            const { ds } = app.canvas;
            ds.scale = 0.9;
            [ds.offset[0], ds.offset[1]] = [52, 82];
            app.canvas.setDirty(true, true);
        }"""
    )
    page.wait_for_timeout(2000)


def record(host: ComfyUIHost, profile: Path) -> list[Image.Image]:
    """The template before, while and after it runs."""
    with opened_page(host.url, profile) as page:
        page.set_viewport_size({"width": VIEW_PX[0], "height": VIEW_PX[1]})
        open_template(page)
        recorder = Recorder(page)
        recorder.take()
        place = '[data-testid="queue-button"]'
        page.locator(f"{place} button, button{place}").first.click()
        recorder.until(lambda: bool(host.get("/history")))
        page.wait_for_timeout(2000)
        page.evaluate("document.querySelectorAll('video').forEach(video => video.play())")
        for _ in range(8):
            recorder.take()
            page.wait_for_timeout(150)
        return recorder.frames


def thinned(frames: list[Image.Image]) -> Iterator[Image.Image]:
    """At most `MOST_FRAMES` of them, evenly, the last eight whole."""
    first, last = frames[:-8], frames[-8:]
    step = max(1.0, len(first) / (MOST_FRAMES - len(last)))
    yield from (first[int(i * step)] for i in range(int(len(first) / step)))
    yield from last


def write(frames: list[Image.Image], path: Path) -> None:
    """An animated WebP that is small enough for a page."""
    durations = [FRAME_MS] * (len(frames) - 1) + [LAST_MS]
    durations[0] = 1500
    for quality in QUALITIES:
        frames[0].save(
            path,
            save_all=True,
            append_images=frames[1:],
            duration=durations,
            loop=0,
            quality=quality,
            method=6,
        )
        if path.stat().st_size <= LARGEST_BYTES:
            break
    print(f"{path}: {len(frames)} frames, {path.stat().st_size:,} bytes, quality {quality}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=ROOT / "docs" / "pictures")
    output = parser.parse_args().output
    output.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory() as folder:
        pack = Path(folder) / "ltxv-train"  # the name that ComfyUI shows at the nodes
        pack.symlink_to(ROOT, target_is_directory=True)
        python = Path(os.environ.get("COMFYUI_PYTHON", sys.executable))
        host = ComfyUIHost(Path(folder) / "base", [pack], Path(os.environ["COMFYUI_PATH"]), python)
        try:
            frames = record(host, Path(folder) / "profile")
        finally:
            host.close()
    write(list(thinned(frames)), output / "canvas.webp")


if __name__ == "__main__":
    main()
