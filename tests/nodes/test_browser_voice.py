"""Whether a sound was learned, in ComfyUI's own interface."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from ltxv_train_core.voice.file import Voice, write_voice
from tests.comfyui.browser import opened_page
from tests.comfyui.host import ComfyUIHost
from tests.host import Host
from tests.nodes.made_runs import make_run

pytestmark = [
    pytest.mark.comfyui,
    pytest.mark.slow,
    pytest.mark.parametrize("host", ["comfyui"], indirect=True),
]

HEARD, UNHEARD = "heard-0123456789ab", "unheard-0123456789ab"
VOICE = Voice("learned", "The sound was learned: <b>so</b>.", 20, 0, 8, 1.5, 3.5, 1.0, 0.8, 3, ())


@pytest.fixture
def page(host: Host, tmp_path: Path) -> Iterator[Any]:
    assert isinstance(host, ComfyUIHost)
    folder = host.base / "output" / "ltxv_train"
    runs = [make_run(folder, name, ["a"], [0, 20], [20], sound=True) for name in (HEARD, UNHEARD)]
    write_voice(runs[0], VOICE, Image.new("RGB", (60, 40), "red"))
    try:
        with opened_page(host.url, tmp_path / "profile") as page:
            page.set_viewport_size({"width": 1400, "height": 950})
            page.locator(".ltxv-train-tab-button").click()
            yield page
            page.screenshot(path=str(host.base / "voice.png"))
    finally:
        for run in runs:
            shutil.rmtree(run.folder)


def choose(page: Any, name: str) -> Any:
    page.locator(".ltxv-run", has_text=name).first.locator(".ltxv-name").click()
    page.get_by_role("tab", name="Voice", exact=True).click()
    return page.locator(".ltxv-voice")


def test_sentence_and_picture_of_a_run_that_was_heard(page: Any) -> None:
    voice = choose(page, HEARD)
    expected = f"{VOICE.text} Samples of step 0 and 20, 8 clips."
    voice.get_by_text(expected).wait_for()
    picture = voice.locator("img")
    page.wait_for_function("document.querySelector('.ltxv-voice img').naturalWidth === 60")
    assert picture.get_attribute("alt") == VOICE.text


def test_listening_says_what_it_can_not_do(page: Any) -> None:
    voice = choose(page, UNHEARD)
    voice.get_by_text("Nobody has listened to this run yet.").wait_for()
    assert not voice.locator("img").is_visible()
    voice.get_by_role("button", name="Listen").click()
    voice.get_by_text(
        "was not allowed"
    ).wait_for()  # its data set lies outside of ComfyUI's folders
    assert voice.get_by_role("button", name="Listen").is_enabled()
