"""Writes the list of messages in docs/symptoms.md from the help pages of the nodes.

python tools/write_symptoms.py          # write
python tools/write_symptoms.py --check  # exit code 1 if the page is out of date
"""

import argparse
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
HELP = ROOT / "nodes" / "web" / "docs"
PAGE = ROOT / "docs" / "symptoms.md"
HEAD = "| It says | What to do |"
BEGIN, END = "<!-- messages -->", "<!-- /messages -->"
_MANY = 5
"""Nodes that say the same; more are not named one by one."""


def messages() -> dict[tuple[str, str], list[str]]:
    """The rows of all tables of errors, each with the names of the nodes that have it."""
    found: dict[tuple[str, str], list[str]] = {}
    for page in sorted(HELP.glob("*.md")):
        text = page.read_text(encoding="utf-8")
        name = text.splitlines()[0].removeprefix("# ")
        _, _, rows = text.partition(HEAD)
        for line in rows.strip().splitlines()[1:]:
            if not line.startswith("|"):
                break
            says, todo = (cell.strip() for cell in line.strip("|").split(" | ", 1))
            found.setdefault((says, todo.removesuffix("|").strip()), []).append(name)
    return found


def table() -> str:
    """In Markdown, by what the message says."""
    rows = ["| It says | What to do | Where |", "|---|---|---|"]
    for (says, todo), nodes in sorted(messages().items(), key=lambda item: _order(item[0][0])):
        where = ", ".join(nodes) if len(nodes) <= _MANY else f"{len(nodes)} nodes"
        rows.append(f"| {says} | {todo} | {where} |")
    return "\n".join(rows)


def _order(says: str) -> str:
    return says.strip("*… ").lower()


def renewed(page: str) -> str:
    """The page with the table between its marks written anew."""
    before, rest = page.split(BEGIN)
    _, after = rest.split(END)
    return f"{before}{BEGIN}\n{table()}\n{END}{after}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="write nothing")
    check = parser.parse_args().check
    page = PAGE.read_text(encoding="utf-8")
    stale = renewed(page) != page
    if stale and not check:
        PAGE.write_text(renewed(page), encoding="utf-8", newline="\n")
    print(f"{PAGE.name}: {'out of date' if stale and check else 'up to date'}")
    return 1 if stale and check else 0


if __name__ == "__main__":
    sys.exit(main())
