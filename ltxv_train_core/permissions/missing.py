"""What is said of a path that leads to nothing: where it was looked for, and what is like it there."""

import difflib
import os
import re
from itertools import islice
from pathlib import Path

from ..errors import cut
from .policy import policy

# A folder of a million files must not make an error slow.
MOST_NAMES = 10_000
ALIKE = 3
_OF_WINDOWS = re.compile(r"(?:.*/)?([A-Za-z]:[\\/].*|\\\\[^\\]+\\.*)", re.DOTALL)
"""A drive's letter, or a share of a network, behind the folder in which it was looked for."""
_LONGEST_PATH, _LONGEST_NAME = 300, 60


def no_such_path(path: Path, kind: str = "file") -> str:
    """A line that says that there is none, and names up to three that are called nearly so.

    A folder that may not be read is not listed.

    Args:
        kind: what should be there: "file", "folder", "file or folder".
    """
    if os.sep == "/" and (windows := _OF_WINDOWS.fullmatch(str(path))):
        return (
            f"{cut(windows[1], _LONGEST_PATH)}: no such {kind}: this is a path of Windows, and this machine runs "
            "another system; write where it lies here"
        )
    folder = path.parent
    if not folder.is_dir():
        while not folder.is_dir() and folder != folder.parent:
            folder, missing = folder.parent, folder
        return f"{_shown(path)}: no such {kind}, because there is no folder {_shown(missing)}"
    alike = difflib.get_close_matches(path.name, _names(folder), n=ALIKE)
    if not alike:
        return f"{_shown(path)}: no such {kind}"
    listed = ", ".join(cut(name, _LONGEST_NAME) for name in alike)
    return f"{_shown(path)}: no such {kind}. In that folder is {listed}"


def _names(folder: Path) -> list[str]:
    if not policy().may_read(folder):
        return []
    try:
        return [path.name for path in islice(folder.iterdir(), MOST_NAMES)]
    except OSError:
        return []


def _shown(path: Path) -> str:
    return cut(str(path), _LONGEST_PATH)
