"""Links, anchors and pictures of the pages are there, what tools write is up to date, and the site builds."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from tests.helpers.markdown import PAGES, ROOT, Link, anchors, links

DOCS = ROOT / "docs"
LARGEST_PICTURE_BYTES = 2_000_000


def problem(link: Link) -> str | None:
    """What is wrong with a link within the repository."""
    path, _, anchor = link.target.partition("#")
    target = (link.page.parent / path).resolve() if path else link.page
    if not target.exists():
        return f"{link.page.name}: no {link.target}"
    if anchor and target.suffix == ".md" and anchor not in anchors(target):
        return f"{link.page.name}: no heading {link.target}"
    return None


def test_links_lead_somewhere() -> None:
    found = [each for each in links() if not each.target.startswith(("http", "mailto:"))]
    assert len(found) > 120, len(found)
    assert list(filter(None, map(problem, found))) == []


def test_pages_of_the_site_stay_within_it() -> None:
    outside = [
        f"{each.page.name}: {each.target}"
        for each in links()
        if each.page.parent == DOCS and each.target.startswith("..")
    ]
    assert outside == []


def test_pictures_can_be_seen_and_are_described() -> None:
    found = [each for each in links() if each.is_picture]
    assert len(found) >= 4
    for each in found:
        file = each.page.parent / each.target
        assert len(each.text) > 15, each
        assert 0 < file.stat().st_size < LARGEST_PICTURE_BYTES, file
        with Image.open(file) as picture:
            assert picture.width > 200, file
    with Image.open(DOCS / "pictures" / "canvas.webp") as canvas:
        assert canvas.n_frames >= 10


def test_every_page_is_in_the_navigation() -> None:
    named = re.findall(r": ([\w-]+\.md)$", (ROOT / "mkdocs.yml").read_text("utf-8"), re.MULTILINE)
    assert sorted(named) == sorted(page.name for page in DOCS.glob("*.md"))


@pytest.mark.parametrize("tool", ["write_symptoms", "write_cards"])
def test_what_tools_write_is_up_to_date(tool: str) -> None:
    command = [sys.executable, str(ROOT / "tools" / f"{tool}.py"), "--check"]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, f"run python tools/{tool}.py: {ran.stdout}{ran.stderr}"


def test_what_was_measured_of_good_and_bad_samples_is_what_the_page_says() -> None:
    from tools.write_training_pictures import PAGE, renewed

    page = PAGE.read_text(encoding="utf-8")
    assert renewed(page) == page


def rows(page: Path, heading: str) -> list[str]:
    """The first cells of the table below a heading, without marks."""
    _, found, rest = page.read_text(encoding="utf-8").partition(f"\n## {heading}\n")
    assert found, heading
    body = rest.split("\n## ")[0]
    return re.findall(r"^\| `(\w+)` \|", body, re.MULTILINE)


def sources() -> list[Path]:
    return [*(ROOT / "ltxv_train_core").rglob("*.py"), *(ROOT / "nodes").rglob("*.py")]


def test_every_kind_of_error_is_among_the_symptoms() -> None:
    declared = {
        name
        for file in sources()
        for name in re.findall(r"^class (\w+Error)\(", file.read_text("utf-8"), re.MULTILINE)
    }
    assert len(declared) > 15
    assert set(rows(DOCS / "symptoms.md", "Kinds of errors")) == declared


def literals(call: str) -> set[str]:
    """First arguments of a call that are written as texts, in the whole core."""
    found = set()
    for file in sources():
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == call and node.args:
                first = node.args[0]
                if isinstance(first, ast.Constant) and isinstance(first.value, str):
                    found.add(first.value)
    return found


def test_every_cause_of_a_failed_run_is_among_the_symptoms() -> None:
    named = set(rows(DOCS / "symptoms.md", "Why a run failed"))
    assert named >= literals("Failure") | literals("Fault")
    # What `failure_of` calls errors of a class, and what `runs` gives for a state that can't be read.
    assert named - literals("Failure") - literals("Fault") <= {"model", "configuration", "damaged"}


@pytest.mark.slow
def test_the_site_builds_without_a_warning(tmp_path: Path) -> None:
    pytest.importorskip("material", reason="extra docs")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "-q", "-d", str(tmp_path)]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    pages = [page for page in PAGES if page.parent == DOCS and page.stem != "index"]
    assert all((tmp_path / page.stem / "index.html").is_file() for page in pages)
