"""The files that preprocessing writes and finds again, and those that nothing needs any more."""

from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from ..config.tools.preprocessing import OUTPUT_FOLDER
from ..errors import DataError, ModelError
from ..permissions import Ledger
from ..storage.atomic import remove
from ..storage.reading import read_json
from ..storage.safetensors_header import read_header
from ..storage.tensors import write_safetensors
from .cached_tensors import Form, require_tensors
from .index import (
    INDEX_NAME,
    SUFFIX,
    CachedFile,
    Index,
    index_path,
    index_paths,
    is_cached,
    own_index_path,
    read_index,
    write_index,
)

if TYPE_CHECKING:
    from torch import Tensor

FACTS = "files.json"
_TABLES = {INDEX_NAME: "fingerprint", FACTS: "files"}
"""What else lies in a data set, and a key of it: earlier versions wrote no ledger."""


class Cache:
    """A folder of cached files, which data sets may share.

    A file holds the key of what it was made from, and its name holds it too: other content gets
    another name, and a file that an index names is never replaced by other content.
    """

    def __init__(self, root: Path):
        self.root = root
        self._ledger = Ledger(root)

    def locate(self, stem: str, key: str) -> CachedFile:
        """The file of a key: the one that an earlier version wrote without the key in its name, or
        the one that is there, or is to be written, with it.

        Args:
            stem: path below the root, without suffix.
        """
        named = CachedFile(f"{stem}.{key[:12]}{SUFFIX}", key)
        earlier = CachedFile(f"{stem}{SUFFIX}", key)
        if not (self.root / named.path).is_file() and self._has_key(earlier):
            return earlier
        return named

    def _has_key(self, file: CachedFile) -> bool:
        path = self.root / file.path
        try:
            return path.is_file() and read_header(path).metadata.get("key") == file.key
        except ModelError:
            return False

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
        first = self.root.name == OUTPUT_FOLDER and {p.name for p in self.root.iterdir()} == {FACTS}
        return first or any(has(name, key) for name, key in _TABLES.items())

    def begin(self, files: Iterable[CachedFile], indexes: Iterable[Index]) -> None:
        """Takes files for this program's, before they are written.

        Args:
            indexes: of the data sets that are there; earlier versions wrote no ledger.
        """
        named = (*files, *(file for index in indexes for file in index.files))
        self._ledger.add(file.path for file in named)

    def holds(self, file: CachedFile, form: Form) -> bool:
        """Whether the file is there, whole, made from the same, and of the right form."""
        try:
            require_tensors(self.root, file, form)
        except DataError:
            return False
        return True

    def write(
        self, file: CachedFile, tensors: "Mapping[str, Tensor]", about: dict[str, str]
    ) -> None:
        """Writes named tensors, atomically. Raises `DataError` where a link leads out of the folder."""
        path = self._ledger.path(file.path)
        write_safetensors(path, tensors, about | {"key": file.key})

    def first_dimension(self, file: CachedFile, name: str) -> int:
        """The length of a cached tensor; only the file's head is read."""
        return read_header(self.root / file.path).tensors[name].shape[0]

    def size_bytes(self, files: Iterable[CachedFile]) -> int:
        """What files take on the disk."""
        paths = {file.path for file in files}
        return sum((self.root / path).stat().st_size for path in paths)

    def write_index(self, index: Index, data_set: str) -> bool:
        """Writes a data set's own index and, as the one of the last pass, `index.json`.

        Args:
            data_set: hex digest of what names the data set.

        Returns:
            whether `index.json` was another one.
        """
        own = own_index_path(self.root, data_set)
        self._ledger.add([own.name])
        write_index(own, index)
        return write_index(index_path(self.root), index)

    def orphans(self) -> list[Path]:
        """Files that this program has cached and no index names, and what interrupted writes left of
        them. Files of somebody else are none. While an index can't be read, no file counts as one.

        Raises:
            DataError: a link leads out of the folder.
        """
        if self.unreadable_indexes():
            return []
        named = [read_index(path).files for path in index_paths(self.root)]
        spare = self._ledger.files - {file.path for files in named for file in files}
        cached = (self._ledger.path(name) for name in spare if is_cached(name))
        return sorted([*filter(Path.is_file, cached), *self._ledger.unfinished()])

    def unreadable_indexes(self) -> list[Path]:
        """Indexes of the folder that are damaged: nobody knows what they name."""
        found = []
        for path in index_paths(self.root):
            try:
                read_index(path)
            except DataError:
                found.append(path)
        return found

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
