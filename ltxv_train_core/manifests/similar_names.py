"""Files whose names are written in another case or Unicode form than the disk has them."""

import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable
from functools import cached_property
from pathlib import Path

from ..errors import DataError, cut, shown
from ..permissions import NotAllowedError, policy

# A path of a thousand folders that are not there costs a thousand looks.
_MOST_STEPS = 64


class AlikeNames:
    """Finds them; each folder is listed once.

    Attributes:
        found: the path on the disk, by the path that was written.
    """

    def __init__(self, written: Iterable[Path]):
        """
        Args:
            written: every path that is looked for. Of several that are alike none is guessed: one
                clip would get what is another's.
        """
        self.found: dict[Path, Path] = {}
        self._written = written
        self._folders: dict[Path, dict[str, list[str]]] = {}

    @cached_property
    def _alike(self) -> Counter[str]:
        """How many paths that differ are alike."""
        return Counter(_folded(str(path)) for path in set(self._written))

    def find(self, path: Path) -> Path | None:
        """The one file or folder that a path may mean that isn't there as it is written.

        Raises:
            DataError: there are several.
        """
        if self._alike[_folded(str(path))] > 1:
            return None
        missing: list[str] = []
        place = path
        while not _exists(place) and place != place.parent and len(missing) < _MOST_STEPS:
            missing.append(place.name)
            place = place.parent
        for name in reversed(missing):
            alike = self._in(place, name)
            if alike is None:
                return None
            place = place / alike
        self.found[path] = place
        return place

    def notes(self) -> list[str]:
        """A line on what was found, if there is anything."""
        if not self.found:
            return []
        written, there = next(iter(self.found.items()))
        return [
            f"{len(self.found)} files are called otherwise on the disk, in case or Unicode form, and are "
            f"taken: {shown(str(written), 200)} is {shown(str(there), 200)}"
        ]

    def _in(self, folder: Path, name: str) -> str | None:
        if folder not in self._folders:
            self._folders[folder] = _listed(folder)
        alike = self._folders[folder].get(_folded(name), [])
        same_case = [one for one in alike if _composed(one) == _composed(name)]
        wanted = same_case or alike
        if len(wanted) > 1:
            raise DataError(
                f"{shown(name)} may be {cut(' or '.join(map(shown, wanted)), 200)} in {cut(str(folder), 300)}: "
                "write it as the file is called"
            )
        return wanted[0] if wanted else None


def _listed(folder: Path) -> dict[str, list[str]]:
    names: dict[str, list[str]] = defaultdict(list)
    try:
        policy().require_read(folder)
        for path in sorted(folder.iterdir()):
            names[_folded(path.name)].append(path.name)
    except (NotAllowedError, OSError):
        return {}
    return names


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # a name that is too long
        return False


def _composed(name: str) -> str:
    return unicodedata.normalize("NFC", name)


def _folded(name: str) -> str:
    return _composed(_composed(name).casefold())
