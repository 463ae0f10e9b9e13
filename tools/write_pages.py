"""Writes what pages in docs/ repeat of the nodes' help pages: messages in symptoms.md, the list in nodes.md.

python tools/write_pages.py          # write
python tools/write_pages.py --check  # exit code 1 if a page is out of date
"""

import re
import sys
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))

from tools.generated import between, write_or_check  # noqa: E402

HELP = ROOT / "nodes" / "web" / "docs"
DOCS = ROOT / "docs"
HEAD = "| It says | What to do |"
ROOMS = {
    "dataset": "Clips and data sets",
    "config": "Configuration",
    "training": "Training",
    "lora": "Models, LoRAs and sampling",
}
"""Folders of nodes/, and what their nodes are for."""
_MANY = 5
"""Nodes that say the same; more are not named one by one."""


def messages() -> dict[tuple[str, str], list[str]]:
    """The rows of all tables of errors, each with the names of the nodes that have it."""
    found: dict[tuple[str, str], list[str]] = {}
    for page in sorted(HELP.glob("*.md")):
        text = page.read_text(encoding="utf-8")
        _, _, rows = text.partition(HEAD)
        for line in rows.strip().splitlines()[1:]:
            if not line.startswith("|"):
                break
            says, todo = (cell.strip() for cell in line.strip("|").split(" | ", 1))
            found.setdefault((says, todo.removesuffix("|").strip()), []).append(_title(text))
    return found


def message_table() -> str:
    """In Markdown, by what the message says."""
    rows = ["| It says | What to do | Where |", "|---|---|---|"]
    for (says, todo), nodes in sorted(messages().items(), key=lambda item: _order(item[0][0])):
        where = ", ".join(nodes) if len(nodes) <= _MANY else f"{len(nodes)} nodes"
        rows.append(f"| {says} | {todo} | {where} |")
    return "\n".join(rows)


def node_tables() -> str:
    """All nodes with what they do, a table for each room."""
    tables: dict[str, list[str]] = {title: [] for title in ROOMS.values()}
    for page in sorted(HELP.glob("*.md")):
        text = page.read_text(encoding="utf-8")
        summary = re.split(r"(?<=[.:]) ", text.split("\n\n")[1].replace("\n", " "))[0]
        tables[ROOMS[_room(page.stem)]].append(f"| **{_title(text)}** | {summary.rstrip('.:')}. |")
    return "\n\n".join(
        f"## {title}\n\n| Node | What it does |\n|---|---|\n" + "\n".join(sorted(rows))
        for title, rows in tables.items()
    )


def _title(page: str) -> str:
    return page.splitlines()[0].removeprefix("# ")


def _room(node: str) -> str:
    """The folder of nodes/ that defines a node; those of sections are made in one place."""
    for room in ROOMS:
        for file in (ROOT / "nodes" / room).glob("*.py"):
            if f"class {node}(" in file.read_text(encoding="utf-8"):
                return room
    return "config"


def _order(says: str) -> str:
    return says.strip("*… ").lower()


PARTS: dict[str, tuple[str, Callable[[], str]]] = {
    "symptoms.md": ("messages", message_table),
    "nodes.md": ("nodes", node_tables),
}
"""By page: the name of its marks, and what stands between them."""


def contents() -> dict[Path, str]:
    """Each page with its part."""
    found = {}
    for name, (mark, write) in PARTS.items():
        page = (DOCS / name).read_text(encoding="utf-8")
        marks = f"<!-- {mark} -->", f"<!-- /{mark} -->"
        found[DOCS / name] = between(page, *marks, f"\n{write()}\n")
    return found


if __name__ == "__main__":
    write_or_check(__doc__, contents)
