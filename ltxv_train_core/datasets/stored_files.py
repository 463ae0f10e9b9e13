"""Reading the tensors of a preprocessed data set, in each of the layouts that training knows."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Protocol

from safetensors import SafetensorError

from ..errors import DataError, ModelError
from ..families.names import LATENTS, MASK, REFERENCE, VIDEO
from ..families.registry import family_named
from ..geometry import SAME_SIZE, LatentSize, ReferenceScale, VideoSize
from ..permissions import policy
from ..storage.safetensors_header import read_header
from .cached_tensors import Form, require_one_width, require_tensors, stream_forms, text_form
from .foreign_folders import find_root
from .index import CachedFile, Example, Index, data_folder, find_index, read_index

if TYPE_CHECKING:
    from torch import Tensor

    from ..families.base import Embedding


class StoredFiles(Protocol):
    """A data set on disk.

    Shapes: C channels, L text tokens, D text width, "..." what else a stream's latents have.

    Attributes:
        reference_sizes: of each item.
        reference_scale: how much smaller than their clips references are.
        notices: what the user should know of it.
    """

    root: Path
    index: Index
    reference_sizes: list[str]
    reference_scale: ReferenceScale
    notices: list[str]

    def require(self, files: Iterable[CachedFile]) -> None:
        """Raises `DataError` for a file that isn't what the index says; its numbers aren't read."""
        ...

    def tensor(self, file: CachedFile, role: str) -> Tensor:
        """Latents or a reference [C, ...] float32, or a mask [...] bool, in which one frame may stand
        for all."""
        ...

    def text(self, file: CachedFile) -> Embedding:
        """Named tensors [L, D]."""
        ...

    def text_width(self, file: CachedFile) -> int:
        """D of the first of them; its numbers aren't read."""
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
    theirs = find_root(folder)
    if theirs is not None:
        from .precomputed import PtFiles  # with torch, which can read its files alone

        wanted = reference_dir if reference_dir and (theirs / reference_dir).is_dir() else None
        return PtFiles(theirs, wanted)
    return SafetensorsFiles(folder, reference_dir)


def require_dataset(folder: Path) -> None:
    """Raises `DataError` for what is no data set that `open_files` knows; reads nothing of it.

    Args:
        folder: as for `open_files`. It may be read.
    """
    if find_root(folder) is None:
        find_index(folder)


class SafetensorsFiles:
    """What `preprocess` wrote."""

    def __init__(self, folder: Path, reference_dir: str | None = None):
        path = find_index(folder)
        policy().require_read(path)  # it may be a link
        self.root, self.index = path.parent, read_index(path)
        self.notices: list[str] = []
        self._family = family_named(self.index.family)
        self.reference_scale = self._scale(reference_dir)
        self.reference_sizes = [self._reference_size(item) for item in self.index.items]
        self._text = text_form(self._family)
        self._forms: dict[CachedFile, Form] = {}
        for item in self.index.items:
            self._forms.update(stream_forms(item, self._family))

    def _scale(self, reference_dir: str | None) -> ReferenceScale:
        """That of the first clip of several frames that has a reference: all are made alike."""
        if reference_dir is None:
            return SAME_SIZE
        grid = self._family.grid
        targets = ((grid.latent(VideoSize.parse(item.size)), item) for item in self.index.items)
        for target, item in sorted(targets, key=lambda each: each[0].frames == 1):
            file = item.streams.get(VIDEO, {}).get(REFERENCE)
            if file is None or not PurePosixPath(file.path).is_relative_to(reference_dir):
                continue
            try:
                shape = read_header(self.root / file.path).tensors[LATENTS].shape
            except (ModelError, KeyError, OSError):
                break  # reported where the file is looked at
            found = ReferenceScale.between(target, shape[1:]) if len(shape) == 4 else None
            return found or SAME_SIZE
        return SAME_SIZE

    def _reference_size(self, item: Example) -> str:
        if self.reference_scale == (1, 1):
            return item.size
        latent = self.reference_scale.latent(self._family.grid.latent(VideoSize.parse(item.size)))
        return item.size if latent is None else str(self._family.grid.pixels(LatentSize(*latent)))

    def tensor(self, file: CachedFile, role: str) -> Tensor:
        return self._load(file)[MASK if role == MASK else LATENTS]

    def text(self, file: CachedFile) -> Embedding:
        found = self._load(file)
        return {name: found[name] for name in self._text}

    def text_width(self, file: CachedFile) -> int:
        return require_tensors(self.root, file, self._text)[next(iter(self._text))].shape[1]

    def require(self, files: Iterable[CachedFile]) -> None:
        texts: list[dict[str, int]] = []
        for one in dict.fromkeys(files):
            infos = require_tensors(self.root, one, self._form(one))
            if one not in self._forms:
                texts.append({name: info.shape[1] for name, info in infos.items()})
        for name in self._text:
            require_one_width(self.root, {each[name] for each in texts})
        if texts:  # of those that it didn't look at, too
            self._text = text_form(self._family, texts[0])

    def _form(self, file: CachedFile) -> Form:
        return self._forms.get(file, self._text)

    def _load(self, file: CachedFile) -> dict[str, Tensor]:
        """Reads the whole file: faster than mapping it, and it isn't held open."""
        from safetensors.torch import load

        path = self.root / file.path
        policy().require_read(path)  # it may be a link
        require_tensors(self.root, file, self._form(file))
        try:
            return load(path.read_bytes())
        except (OSError, SafetensorError) as error:
            raise DataError(
                f"{path}: can't be read ({error}); delete it and preprocess again"
            ) from error
