"""What Markdown pages hold: blocks of code, links, pictures, headings."""

import re
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
PAGES = [
    ROOT / "README.md",
    *(ROOT / "docs" / f"{name}.md" for name in ("first-lora", "ic-lora", "image-to-video")),
    *sorted(
        page
        for page in (ROOT / "docs").glob("*.md")
        if page.stem not in ("first-lora", "ic-lora", "image-to-video")
    ),
    ROOT / "CONTRIBUTING.md",
    ROOT / "SECURITY.md",
    ROOT / "CODE_OF_CONDUCT.md",
    ROOT / "CHANGELOG.md",
]
"""Those of a first day come first: commands of the others use what theirs write."""

_BLOCK = re.compile(r"^( *)```(\w*)[^\n]*\n(.*?)^\1```", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"(!?)\[((?:[^\[\]]|\[[^\]]*\])*)\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#{1,6} +(.+?)\s*$", re.MULTILINE)


class Block(NamedTuple):
    """A block of code on a page."""

    page: str
    language: str
    text: str


class Link(NamedTuple):
    """A link, or a picture with its alternative text."""

    page: Path
    is_picture: bool
    text: str
    target: str


def blocks(language: str) -> Iterator[Block]:
    """All blocks of a language, in the order of `PAGES`."""
    for page in PAGES:
        for _, found, text in _BLOCK.findall(page.read_text(encoding="utf-8")):
            if found == language:
                yield Block(page.name, found, textwrap.dedent(text))


def links() -> Iterator[Link]:
    """All links and pictures outside of code."""
    for page in PAGES:
        prose = _BLOCK.sub("", page.read_text(encoding="utf-8"))
        for mark, text, target in _LINK.findall(re.sub(r"`[^`\n]*`", "`code`", prose)):
            yield Link(page, mark == "!", text, target)


def anchors(page: Path) -> set[str]:
    """Names of a page's headings, as GitHub and MkDocs make them."""
    prose = _BLOCK.sub("", page.read_text(encoding="utf-8"))
    return {_slug(heading) for heading in _HEADING.findall(prose)}


def _slug(heading: str) -> str:
    text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).replace("`", "").lower()
    return re.sub(r"[^\w\- ]", "", text).strip().replace(" ", "-")


def commands() -> Iterator[tuple[str, str]]:
    """Each shell command with its page; lines that go on are joined, comments are cut off."""
    for block in blocks("sh"):
        for line in block.text.replace("\\\n", " ").splitlines():
            for command in re.split(r"\s&&\s", re.sub(r"(^|\s)#.*", "", line)):
                if command.strip():
                    yield block.page, " ".join(command.split())
