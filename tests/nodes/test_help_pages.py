"""The help pages say what the configuration says, and each shows how its node is wired."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = ROOT / "nodes" / "web" / "docs"


@pytest.mark.parametrize("tool", ["write_help_tables", "write_help_pictures"])
def test_what_tools_write_is_up_to_date(tool: str) -> None:
    command = [sys.executable, str(ROOT / "tools" / f"{tool}.py"), "--check"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"run python tools/{tool}.py: {done.stdout}{done.stderr}"


def test_every_page_shows_its_node_wired_to_others_and_names_errors() -> None:
    pages = sorted(PAGES.glob("*.md"))
    assert len(pages) > 30
    for page in pages:
        text = page.read_text("utf-8")
        assert f"](wiring/{page.stem}.svg)" in text, page.name
        assert "| It says | What to do |" in text, page.name
        assert "<path" in (PAGES / "wiring" / f"{page.stem}.svg").read_text("utf-8"), page.name
