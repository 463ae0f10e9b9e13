"""Files that are written from the code, and the check that they are up to date."""

import argparse
import sys
from collections.abc import Callable, Mapping
from pathlib import Path


def write_or_check(about: str | None, contents: Callable[[], Mapping[Path, str | None]]) -> None:
    """The command line of a tool that writes files: without `--check` it writes those that differ, with it it says
    which do. Ends the process, with 1 where the check finds one.

    Args:
        about: what the tool does, in its first line.
        contents: the text of each file; None for one that is not to be there.
    """
    parser = argparse.ArgumentParser(description=(about or "").partition("\n")[0])
    parser.add_argument(
        "--check", action="store_true", help="write nothing; 1 if a file is out of date"
    )
    check = parser.parse_args().check
    stale = {path: text for path, text in contents().items() if text != _read(path)}
    if not check:
        for path, text in stale.items():
            _write(path, text)
    names = ", ".join(sorted(path.name for path in stale)) or "-"
    print(f"{len(stale)} files {'out of date' if check else 'written'}: {names}")
    sys.exit(1 if check and stale else 0)


def between(page: str, begin: str, end: str, written: str) -> str:
    """A page with what lies between two marks written anew."""
    before, rest = page.split(begin)
    _, after = rest.split(end)
    return f"{before}{begin}\n{written}\n{end}{after}"


def _read(path: Path) -> str | None:
    return path.read_text(encoding="utf-8") if path.is_file() else None


def _write(path: Path, text: str | None) -> None:
    if text is None:
        path.unlink()
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8", newline="\n")
