"""The files that preprocessing writes and finds again, and those that nothing needs any more."""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import DataError
from ..files import remove
from ..geometry import VideoSize
from ..layout.header import read_header
from ..tensor_files import write_safetensors
from .cached_tensors import require_tensor
from .index import (
    CONDITIONS,
    LATENTS,
    MASKS,
    REFERENCE_LATENTS,
    SUFFIX,
    Index,
    Stored,
    index_path,
)

if TYPE_CHECKING:
    from torch import Tensor

FOLDERS = (LATENTS, CONDITIONS, REFERENCE_LATENTS, MASKS)
UNFINISHED = ".part"


class Cache:
    """The folder of a data set. A file holds the key of what it was made from."""

    def __init__(self, root: Path):
        self.root = root

    def holds(self, stored: Stored, size: VideoSize | None = None) -> bool:
        """Whether the file is there, whole, made from the same, and of its clip's size."""
        try:
            require_tensor(self.root, stored, size)
        except DataError:
            return False
        return True

    def write(self, stored: Stored, name: str, tensor: "Tensor", about: dict[str, str]) -> None:
        """Writes a tensor, atomically.

        The index goes first: should this pass be interrupted, it would vouch for a mixture.
        """
        remove(index_path(self.root))
        write_safetensors(self.root / stored.path, {name: tensor}, about | {"key": stored.key})

    def first_dimension(self, stored: Stored, name: str) -> int:
        """The length of a stored tensor; only the file's head is read."""
        return read_header(self.root / stored.path).tensors[name].shape[0]

    def size_bytes(self, files: Iterable[Stored]) -> int:
        """What files take on the disk."""
        paths = {stored.path for stored in files}
        return sum((self.root / path).stat().st_size for path in paths)

    def orphans(self, index: Index) -> list[Path]:
        """Cached files that the index doesn't name, and what interrupted writes left."""
        needed = {self.root / stored.path for stored in index.files}
        cached = (path for folder in FOLDERS for path in (self.root / folder).rglob(f"*{SUFFIX}"))
        unfinished = self.root.glob(f".*{UNFINISHED}.*")
        return sorted(path for path in (*cached, *unfinished) if path not in needed)

    def remove(self, paths: Iterable[Path]) -> None:
        """Deletes files, and folders that are empty then."""
        for path in paths:
            remove(path)
            folder = path.parent
            while folder != self.root and not any(folder.iterdir()):
                folder.rmdir()
                folder = folder.parent
