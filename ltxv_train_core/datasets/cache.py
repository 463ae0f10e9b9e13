"""The files that preprocessing writes and finds again, and those that nothing needs any more."""

from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import DataError
from ..geometry import VideoSize
from ..permissions import Ledger
from ..storage.atomic import remove
from ..storage.reading import read_json
from ..storage.safetensors_header import read_header
from ..storage.tensors import write_safetensors
from .cached_tensors import require_tensor
from .index import (
    CONDITIONS,
    FOLDER_NAME,
    LATENTS,
    MASKS,
    REFERENCE_LATENTS,
    Index,
    Stored,
    index_path,
)

if TYPE_CHECKING:
    from torch import Tensor

FOLDERS = (LATENTS, CONDITIONS, REFERENCE_LATENTS, MASKS)
FACTS = "files.json"
_TABLES = {"index.json": "fingerprint", FACTS: "files"}
"""What else lies in a data set, and a key of it: earlier versions wrote no ledger."""


class Cache:
    """The folder of a data set. A file holds the key of what it was made from."""

    def __init__(self, root: Path):
        self.root = root
        self._ledger = Ledger(root)

    def claim(self) -> None:
        """Makes the folder this program's.

        Raises:
            DataError: it holds files of somebody else.
            NotAllowedError: it may not be written.
        """
        self._ledger.claim(self._is_of_an_earlier_version)
        self._ledger.add(_TABLES)

    def _is_of_an_earlier_version(self) -> bool:
        def has(name: str, key: str) -> bool:
            try:
                return key in read_json(self.root / name)
            except (OSError, ValueError, TypeError):
                return False

        # That is what an interrupted first pass has left, even where it was damaged since.
        first = self.root.name == FOLDER_NAME and {p.name for p in self.root.iterdir()} == {FACTS}
        return first or any(has(name, key) for name, key in _TABLES.items())

    def begin(self, index: Index | None, files: Iterable[Stored]) -> None:
        """Takes files for the data set's, before they are written.

        Args:
            index: of the data set as it is.
        """
        named = (*files, *(index.files if index else ()))
        self._ledger.add(stored.path for stored in named)

    def holds(self, stored: Stored, size: VideoSize | None = None) -> bool:
        """Whether the file is there, whole, made from the same, and of its clip's size."""
        try:
            require_tensor(self.root, stored, size)
        except DataError:
            return False
        return True

    def write(self, stored: Stored, tensors: "Mapping[str, Tensor]", about: dict[str, str]) -> None:
        """Writes named tensors, atomically. Raises `DataError` where a link leads out of the folder.

        The index goes first: should this pass be interrupted, it would vouch for a mixture.
        """
        path = self._ledger.path(stored.path)
        remove(index_path(self.root))
        write_safetensors(path, tensors, about | {"key": stored.key})

    def first_dimension(self, stored: Stored, name: str) -> int:
        """The length of a stored tensor; only the file's head is read."""
        return read_header(self.root / stored.path).tensors[name].shape[0]

    def size_bytes(self, files: Iterable[Stored]) -> int:
        """What files take on the disk."""
        paths = {stored.path for stored in files}
        return sum((self.root / path).stat().st_size for path in paths)

    def orphans(self, index: Index) -> list[Path]:
        """Files that this program has cached and the index doesn't name, and what interrupted writes
        left of them. Files of somebody else are none.

        Raises:
            DataError: a link leads out of the folder.
        """
        spare = self._ledger.files - {stored.path for stored in index.files}
        cached = (self._ledger.path(name) for name in spare if name.startswith(FOLDERS))
        return sorted([*filter(Path.is_file, cached), *self._ledger.unfinished()])

    def remove_unfinished(self, before: float) -> None:
        """Removes what interrupted writes have left.

        Args:
            before: a time in seconds since 1970; what was written to later may be another program's.
        """
        for path in self._ledger.unfinished():
            with suppress(OSError):
                if path.stat().st_mtime < before:
                    remove(path)

    def remove(self, paths: Iterable[Path]) -> None:
        """Deletes orphans, and folders that are empty then."""
        paths = list(paths)
        self._ledger.forget(path.relative_to(self.root).as_posix() for path in paths)
        for path in paths:
            remove(path)
            folder = path.parent
            while folder != self.root and not any(folder.iterdir()):
                folder.rmdir()
                folder = folder.parent
