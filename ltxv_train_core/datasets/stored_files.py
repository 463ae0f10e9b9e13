"""Reading the tensors of a preprocessed data set, in each of the layouts that training knows."""

from collections.abc import Iterable
from pathlib import Path
from typing import Protocol

from safetensors import SafetensorError
from safetensors.torch import load
from torch import Tensor

from ..errors import DataError
from ..families.base import Embedding
from ..families.names import PROMPT
from ..geometry import VideoSize
from ..permissions import policy
from . import precomputed
from .cached_tensors import require_one_width, require_tensor, tensor_name
from .index import Index, Stored, data_folder, find_index, read_index


class StoredFiles(Protocol):
    """A data set on disk.

    Shapes: f h w latent frames, rows, columns, L text tokens, D text width.

    Attributes:
        reference_sizes: of each item; `preprocess` gives a reference its clip's.
        notices: what the user should know of it.
    """

    root: Path
    index: Index
    reference_sizes: list[str]
    notices: list[str]

    def require(self, stored: Iterable[Stored]) -> None:
        """Raises `DataError` for a file that is missing or isn't what the index says; the weights
        aren't read."""
        ...

    def latents(self, stored: Stored) -> Tensor:
        """[C, f, h, w] float32."""
        ...

    def text(self, stored: Stored) -> Embedding:
        """Named tensors [L, D]."""
        ...

    def mask(self, stored: Stored) -> Tensor:
        """[f or 1, h, w] bool."""
        ...


def open_files(folder: Path, reference_dir: str | None = None) -> StoredFiles:
    """Opens what `preprocess` wrote, or a folder of LTX-Video-Trainer's.

    Args:
        folder: the data set, its index, or the folder that holds it as `.precomputed`.
        reference_dir: the folder of reference latents that is wanted.

    Raises:
        DataError: it is no data set.
        NotAllowedError: it may not be read.
    """
    policy().require_read(data_folder(folder))
    theirs = precomputed.find_root(folder)
    if theirs is not None:
        wanted = reference_dir if reference_dir and (theirs / reference_dir).is_dir() else None
        return precomputed.PtFiles(theirs, wanted)
    return SafetensorsFiles(folder)


class SafetensorsFiles:
    """What `preprocess` wrote."""

    def __init__(self, folder: Path):
        path = find_index(folder)
        policy().require_read(path)  # it may be a link
        self.root, self.index = path.parent, read_index(path)
        self.reference_sizes = [item.size for item in self.index.items]
        self._sizes = {
            stored: VideoSize.parse(item.size)
            for item in self.index.items
            for stored in (item.latents, item.reference_latents, item.mask)
            if stored
        }
        self.notices: list[str] = []

    def latents(self, stored: Stored) -> Tensor:
        return self._load(stored, "latents")

    def text(self, stored: Stored) -> Embedding:
        return {PROMPT: self._load(stored, PROMPT)}

    def mask(self, stored: Stored) -> Tensor:
        return self._load(stored, "mask")

    def require(self, stored: Iterable[Stored]) -> None:
        widths = set()
        for one in dict.fromkeys(stored):
            info = require_tensor(self.root, one, self._sizes.get(one))
            if tensor_name(one) == PROMPT:
                widths.add(info.shape[1])
        require_one_width(self.root, widths)

    def _load(self, stored: Stored, name: str) -> Tensor:
        """Reads the whole file: faster than mapping it, and it isn't held open."""
        path = self.root / stored.path
        policy().require_read(path)  # it may be a link
        require_tensor(self.root, stored, self._sizes.get(stored))
        try:
            return load(path.read_bytes())[name]
        except (OSError, SafetensorError, KeyError) as error:
            raise DataError(
                f"{path}: can't be read ({error}); delete it and preprocess again"
            ) from error
