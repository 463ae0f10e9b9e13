"""Which files of a folder this program has written: no others are ever replaced or deleted.

`.ltxv_train.json` in the folder names them. A folder that is to hold files of this program alone must
be empty when it is first written, or have such a ledger.
"""

import os
from collections.abc import Callable, Iterable
from pathlib import Path, PurePosixPath

from ..errors import DataError
from ..storage.atomic import finished, is_unfinished, write_json, write_text
from ..storage.reading import is_regular, read_json, read_text
from .policy import policy

_NAME = ".ltxv_train.json"
LEDGER_VERSION = 1

_OF_THE_SYSTEM = frozenset({".DS_Store", "Thumbs.db", "desktop.ini"})


class Ledger:
    """That of a folder.

    Attributes:
        files: what was written, relative to the folder, with forward slashes.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        self._path = folder / _NAME
        self.exists, self.files = self._read()

    def claim(self, is_ours: Callable[[], bool] = lambda: False) -> None:
        """Makes the folder this program's.

        Args:
            is_ours: whether a folder without a ledger was written by an earlier version.

        Raises:
            DataError: it holds files of somebody else.
            NotAllowedError: it may not be written.
        """
        policy().require_write(self.folder)
        if self.exists:
            return
        if self.folder.exists() and not self.folder.is_dir():
            raise DataError(f"{self.folder}: is a file; give a folder")
        there = {path.name for path in self.folder.iterdir()} if self.folder.is_dir() else set()
        if there - _OF_THE_SYSTEM and not is_ours():
            raise DataError(
                f"{self.folder}: holds files that this program has not written, such as "
                f"{min(there - _OF_THE_SYSTEM)[:80]}: give an empty folder, or one that isn't there yet"
            )
        self._write()

    def add(self, names: Iterable[str]) -> None:
        """Takes files for this program's, before they are written."""
        new = self.files | set(names)
        if new != self.files or not self.exists:
            self.files = new | self._read()[1]  # another program may have added some meanwhile
            self._write()

    def forget(self, names: Iterable[str]) -> None:
        """Files that are deleted."""
        self.files = (self.files | self._read()[1]) - set(names)
        self._write()

    def unfinished(self) -> list[Path]:
        """What interrupted writes of this program's files have left."""
        folders = {PurePosixPath(name).parent.as_posix() for name in self.files}
        return [
            path
            for path in self.folder.rglob(".*")
            if is_unfinished(path) and self._is_of_ours(path, folders)
        ]

    def path(self, name: str) -> Path:
        """Where a file of the folder lies.

        Raises:
            DataError: a link on the way leads out of the folder.
        """
        path = self.folder / name
        real, root = (Path(os.path.realpath(each)) for each in (path.parent, self.folder))
        if not real.is_relative_to(root):
            raise DataError(
                f"{path}: a link on its way leads out of {self.folder}, and files are not written or "
                "deleted through one: remove the link, or give the folder that it leads to"
            )
        return path

    def _is_of_ours(self, unfinished: Path, folders: set[str]) -> bool:
        """Whether it would have become a file of ours; safetensors' own names say only in which
        folder."""
        try:
            return self._name(finished(unfinished)) in self.files
        except ValueError:
            return self._name(unfinished.parent) in folders - {"."}

    def _name(self, path: Path) -> str:
        return path.relative_to(self.folder).as_posix()

    def _read(self) -> tuple[bool, set[str]]:
        try:
            value = read_json(self._path)
            files = value["files"]
            if value["version"] != LEDGER_VERSION:
                raise TypeError
            return True, {name for name in files if _is_inside(name)}
        except (OSError, ValueError, KeyError, TypeError):
            return False, set()

    def _write(self) -> None:
        write_json(self._path, {"version": LEDGER_VERSION, "files": sorted(self.files)})
        self.exists = True


def _is_inside(name: object) -> bool:
    """Whether a name that anybody may have written stays in its folder, on every system."""
    if not isinstance(name, str) or not name or set(name) & set("\\:\0"):
        return False
    path = PurePosixPath(name)
    return not path.is_absolute() and ".." not in path.parts


def write_own(path: Path, text: str, is_ours: Callable[[str], bool] = lambda text: False) -> Path:
    """Writes a text file, unless it is there already just so.

    Args:
        is_ours: whether the text of a file that no ledger names was written by an earlier version.

    Raises:
        DataError: a file of that name is there, and is somebody else's; it stays.
        NotAllowedError: it may not be written.
    """
    require_own(path, is_ours)
    if not is_regular(path) or read_text(path) != text:
        Ledger(path.parent).add([path.name])
        write_text(path, text)
    return path


def require_own(path: Path, is_ours: Callable[[str], bool] = lambda text: False) -> None:
    """Raises as `write_own`, before any work is done."""
    policy().require_write(path)
    if not path.exists() and not path.is_symlink():
        return
    if path.name in Ledger(path.parent).files and is_regular(path):
        return
    try:
        known = is_ours(read_text(path))
    except (OSError, ValueError):
        known = False
    if not known:
        raise DataError(
            f"{path}: is there, and this program has not written it, so it is not overwritten: give another "
            "name, or rename that file"
        )
