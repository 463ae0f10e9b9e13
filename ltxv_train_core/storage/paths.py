"""Paths as people write them and as systems bear them, and what lies below a folder."""

import os
import re
import sys
from collections import deque
from collections.abc import Callable
from functools import cache
from pathlib import Path

from ..errors import DataError

# MAX_PATH of Windows without its closing zero.
WINDOWS_MAX_PATH = 259
# A wrong folder, such as a drive's root, ends in seconds.
MOST_FILES = 200_000
_OF_WINDOWS = re.compile(r"(?:.*/)?([A-Za-z]:[\\/].*|\\\\[^\\]+\\.*)", re.DOTALL)
TEMPORARY_CHARACTERS = len("..12345678.part")
"""What the name of a file that is being written has more."""


def files_below(
    folder: Path, may_enter: Callable[[Path], bool] = lambda folder: True
) -> list[Path]:
    """All files of a folder and of those in it, sorted; names that begin with a dot are skipped.

    Linked folders are followed. Each folder is looked at once: by the path that it really has where
    that is among them, by a link otherwise.

    Args:
        may_enter: whether a folder may be looked at, links among them.

    Raises:
        DataError: there are more than 200,000 files and folders.
    """
    found: list[tuple[str, str]] = []
    seen: set[str] = set()
    count = 0
    waiting = deque([folder])
    while waiting:
        top = waiting.popleft()
        for place, folders, names in os.walk(top) if may_enter(top) else ():
            real = os.path.realpath(place)
            if real in seen:
                folders.clear()
                continue
            seen.add(real)
            count += len(folders) + len(names)
            if count > MOST_FILES:
                raise DataError(
                    f"{folder}: holds more than {MOST_FILES:,} files and folders: give a smaller folder, "
                    "or a metadata file"
                )
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            found += [(place, name) for name in names if not name.startswith(".")]
            # Links among them, which this walk doesn't follow, have their turn after it.
            waiting += [Path(place, name) for name in folders]
    return sorted(Path(place, name) for place, name in found)


@cache
def longest_path() -> int | None:
    """The most characters of a file's path, where there is such a limit that somebody may meet.

    Windows takes 260 with the zero behind them, unless its registry allows more; Python asks for more.
    https://docs.python.org/3/using/windows.html#removing-the-max-path-limitation
    """
    if sys.platform != "win32":
        return None
    import winreg

    try:
        name = r"SYSTEM\CurrentControlSet\Control\FileSystem"
        with winreg.OpenKey(winreg.HKEY_LOCAL_MACHINE, name) as key:
            return None if winreg.QueryValueEx(key, "LongPathsEnabled")[0] else WINDOWS_MAX_PATH
    except OSError:
        return WINDOWS_MAX_PATH


def require_short(path: Path) -> None:
    """Raises `DataError` for a file that this system can't write for the length of its path."""
    limit = longest_path()
    if limit is None:
        return
    length = len(str(path.absolute())) + TEMPORARY_CHARACTERS
    if length > limit:
        raise DataError(
            f"{path.absolute()}: writing it takes a path of {length} characters, and this Windows allows "
            f"{limit}: use a folder with a shorter path, or set LongPathsEnabled to 1 in the registry"
        )


def as_path(written: str | Path) -> Path:
    """A path as people write it: maybe in quotes, with ~ for the home."""
    # Not `Path.expanduser`, which fails for the home of somebody whom nobody knows.
    return Path(os.path.expanduser(unquoted(str(written))))  # noqa: PTH111


def from_either_system(path: Path, root: Path) -> Path:
    """A path that may have been written on Windows: backslashes separate folders where it leads somewhere only so.

    Args:
        root: where a relative path is looked for.
    """
    if os.sep == "\\" or "\\" not in str(path) or os.path.lexists(root / path):
        return path
    with_slashes = Path(str(path).replace("\\", "/"))
    return with_slashes if os.path.lexists(root / with_slashes) else path


def only_of_windows(path: str) -> str | None:
    """What of a path leads somewhere on Windows alone: from a drive's letter or a network's share on. None on Windows."""
    found = None if os.sep == "\\" else _OF_WINDOWS.fullmatch(path)
    return found[1] if found else None


def unquoted(path: str) -> str:
    """A path as written, without the quotes that Windows puts around it ("Copy as path")."""
    path = path.strip()
    return path[1:-1].strip() if len(path) > 1 and path[0] == path[-1] == '"' else path
