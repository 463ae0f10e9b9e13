"""What lies in a run's folder itself. A link in it may lead to anybody's files: it counts as not there.

Folders of runs are handed around, so they may hold anything; what is listed here can be shown and served.
"""

import os
import re
import stat
from pathlib import Path
from typing import BinaryIO

from ..storage.reading import NotRegularError, open_regular, read_text

_NOT_TO_SHOW = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


def can_be_shown(name: str) -> bool:
    """Whether a file's name is text of one line."""
    # Nothing that is not to be shown is printable, which is told three times as fast.
    return name.isprintable() or _NOT_TO_SHOW.search(name) is None


def may_be_run(entry: os.DirEntry[str]) -> bool:
    """Whether what lies in a folder of runs is a folder, no link, with a name to show."""
    name = entry.name
    return name[0] != "." and entry.is_dir(follow_symlinks=False) and can_be_shown(name)


def own_entries(folder: Path) -> list[os.DirEntry[str]]:
    """What lies in a folder of a run; nothing where the folder is none, or a link.

    The folders above it are looked at before: by who lists them.
    """
    if is_link(folder):
        return []
    try:
        with os.scandir(folder) as found:
            return [each for each in found if can_be_shown(each.name)]
    except OSError:
        return []


def own_files(folder: Path, suffix: str) -> list[Path]:
    """The regular files of a folder whose names end so, sorted."""
    return sorted(
        Path(each.path)
        for each in own_entries(folder)
        if each.name.endswith(suffix) and each.is_file(follow_symlinks=False)
    )


def is_own_file(path: Path) -> bool:
    """Whether there is a regular file that is no link, in a folder that is none."""
    try:
        return stat.S_ISREG(path.lstat().st_mode) and not is_link(path.parent)
    except OSError:
        return False


def open_own(path: Path) -> BinaryIO:
    """Opens a run's file to read bytes. Raises `OSError`, also for a link and what is no file."""
    _require_no_link(path)
    return open_regular(path)


def read_own(path: Path, largest_bytes: int) -> str:
    """UTF-8 text of a run's file. Raises as `reading.read_text`, and for a link `OSError`."""
    _require_no_link(path)
    return read_text(path, largest_bytes)


def is_link(path: Path) -> bool:
    """Whether a path is a link, or a junction of Windows."""
    return path.is_symlink() or getattr(os.path, "isjunction", _never)(path)


def _require_no_link(path: Path) -> None:
    if is_link(path):
        raise NotRegularError(40, "is a link, and a run's links are not followed", str(path))


def _never(path: Path) -> bool:
    return False
