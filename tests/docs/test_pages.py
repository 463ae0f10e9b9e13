"""Links, anchors and pictures of the pages are there, what tools write is up to date, and the site builds."""

import ast
import re
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest
from PIL import Image

from ltxv_train_core.config import SECTIONS, options
from ltxv_train_core.recipes.goals import GOAL_SETTINGS, length
from ltxv_train_core.recipes.shipped import CLIP_COUNTS, USUAL_CLIPS
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
        if file.suffix == ".svg":
            assert float(ElementTree.parse(file).getroot().attrib["width"]) > 200, file
            continue
        with Image.open(file) as picture:
            assert picture.width > 200, file
    with Image.open(DOCS / "pictures" / "canvas.webp") as canvas:
        assert canvas.n_frames >= 10


def test_every_page_is_in_the_navigation() -> None:
    named = re.findall(r": ([\w-]+\.md)$", (ROOT / "mkdocs.yml").read_text("utf-8"), re.MULTILINE)
    assert sorted(named) == sorted(page.name for page in DOCS.glob("*.md"))


@pytest.mark.parametrize(
    "tool",
    [
        "write_pages",
        "write_curves",
        pytest.param("write_cards", marks=pytest.mark.long),
        pytest.param("write_memory", marks=pytest.mark.long),
    ],
)
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


def causes() -> set[str]:
    """Kinds of failures and of disk faults that are written as texts where they are made."""
    found = set()
    for file in sources():
        text = file.read_text("utf-8")
        if "Failure(" not in text and "Fault(" not in text:
            continue
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") in ("Failure", "Fault"):
                found |= {first.value for first in node.args[:1] if isinstance(first, ast.Constant)}
    return found


def test_every_cause_of_a_failed_run_is_among_the_symptoms() -> None:
    named, made = set(rows(DOCS / "symptoms.md", "Why a run failed")), causes()
    assert len(made) > 8
    # What `failure_of` calls errors of a class, and what `runs` gives for a state that can't be read.
    assert named - made <= {"model", "configuration", "damaged"}
    assert made <= named


def test_the_map_names_every_room() -> None:
    core = ROOT / "ltxv_train_core"
    rooms = {folder.name for folder in core.iterdir() if (folder / "__init__.py").is_file()}
    text = (DOCS / "architecture.md").read_text(encoding="utf-8")
    lines = text.partition("| Room |")[2].partition("\n\n")[0].splitlines()[2:]
    table = {room for line in lines for room in re.findall(r"`(\w+)/`", line.split("|")[1])}
    drawn = set(text.partition("```text")[2].partition("```")[0].split())
    assert len(rooms) > 20
    assert table == rooms
    assert rooms <= drawn
    for path in re.findall(r"`((?:ltxv_train_core|nodes)/[\w/]+\.py)`", text):
        assert (ROOT / path).is_file(), path


def test_the_first_lora_s_values_are_those_of_recipes() -> None:
    text = (DOCS / "first-lora.md").read_text(encoding="utf-8")
    rows = text.partition("| Goal | Rank |")[2].partition("\n\n")[0].splitlines()[2:]
    assert len(rows) == len(GOAL_SETTINGS)
    for row, (goal, settings) in zip(rows, GOAL_SETTINGS.items(), strict=True):
        _, rank, rate, steps, first_frame = (cell.strip() for cell in row.strip("|").split("|"))
        assert rank == (str(settings.rank) if settings.rank else "-"), goal
        assert float(rate) == settings.learning_rate, goal
        assert float(first_frame) == settings.first_frame_p, goal
        planned = length(settings, "normal", CLIP_COUNTS.get(goal, USUAL_CLIPS))
        assert int(steps.split()[0].replace(",", "")) == planned.steps, goal


def prose(page: Path) -> str:
    """A page; of tables that begin with another program's names (`There`) their last column alone."""
    lines, is_there = [], False
    for line in page.read_text(encoding="utf-8").splitlines():
        is_there = line.startswith("| There |") or (is_there and line.startswith("|"))
        lines.append(line.strip("|").rsplit(" | ", 1)[-1] if is_there else line)
    return "\n".join(lines)


def test_options_that_pages_name_are_there() -> None:
    known = {f"{n}.{o.name}" for n, section in SECTIONS.items() for o in options(section)}
    named = re.compile(rf"`(?:({'|'.join(SECTIONS)})\.(\w+))(?:`|:| )")
    found = {
        (page.name, f"{section}.{option}")
        for page in PAGES
        for section, option in named.findall(prose(page))
    }
    assert len(found) > 60, len(found)
    assert sorted(each for each in found if each[1] not in known) == []


def test_nodes_that_pages_name_are_there() -> None:
    titles = {
        page.read_text(encoding="utf-8").splitlines()[0].removeprefix("# ")
        for page in (ROOT / "nodes" / "web" / "docs").glob("*.md")
    }
    named = re.compile(
        r"(?<!\*)\*{1,2}([A-Z]\w+ (?:[A-Z]\w+ )*LTXV [A-Z][\w-]*(?: [A-Z][\w-]*)*)\*"
    )
    found = {
        (page.name, " ".join(name.split()))
        for page in PAGES
        for name in named.findall(page.read_text(encoding="utf-8"))
    }
    assert len(found) > 30, len(found)
    comfyuis = {"Load LTXV Audio Text Encoder", "Load LTXV Audio VAE"}
    assert sorted(each for each in found if each[1] not in titles | comfyuis) == []


@pytest.mark.slow
def test_the_site_builds_without_a_warning(tmp_path: Path) -> None:
    pytest.importorskip("material", reason="extra docs")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "-q", "-d", str(tmp_path)]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    pages = [page for page in PAGES if page.parent == DOCS and page.stem != "index"]
    assert all((tmp_path / page.stem / "index.html").is_file() for page in pages)
