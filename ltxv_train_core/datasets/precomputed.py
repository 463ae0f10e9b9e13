"""Preprocessed folders of LTX-Video-Trainer: `.pt` files, read as they are.

    latents/<name>.pt             latents [N, 128], num_frames, height, width (of the latents), fps
    conditions/<name>.pt          prompt_embeds [256, D], prompt_attention_mask [256]
    <reference folder>/<name>.pt  as latents/

Tokens are in the order frame, row, column. Where latents are called `latent_<x>.pt`, in whatever folder,
that trainer looks for their text as `conditions/condition_<x>.pt`. Its oldest files have no fps, which
then counts as 24.
There is no embedding of an empty caption, there are no masks, and captions are not recorded.

Shapes: f h w latent frames, rows, columns, N = f*h*w tokens, L text tokens, D text width.
"""

import zipfile
from collections import Counter
from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from typing import Any

import torch
from torch import Tensor

from ..config.tools.preprocessing import OUTPUT_FOLDER
from ..errors import DataError, cut, shown
from ..families.base import Embedding
from ..families.names import LATENTS, MASK, PROMPT, REFERENCE, VIDEO
from ..families.registry import EARLIEST
from ..geometry import LatentSize
from ..permissions import policy
from ..storage.atomic import sha256_json
from ..storage.torch_files import read_torch_file, require_stored
from .cached_tensors import require_one_width
from .index import (
    CONDITIONS,
    CachedFile,
    Caption,
    Example,
    Index,
    data_folder,
    folder_of,
    index_path,
)

FAMILY = EARLIEST  # what that trainer trains
CHANNELS = FAMILY.streams[VIDEO].channels
VIDEO_FOLDER = folder_of(VIDEO, LATENTS)
SUFFIX = ".pt"
# LTX-Video-Trainer assumes it where a file says none.
DEFAULT_FPS = 24.0
LARGEST_COUNT = 100_000


def find_root(folder: Path) -> Path | None:
    """The folder with `latents/*.pt`, the one given or `.precomputed` in it; None if neither is.

    An index of ours, and a folder with one, is none of theirs.
    """
    if data_folder(folder) != folder:
        return None
    for root in (folder / OUTPUT_FOLDER, folder):
        if index_path(root).is_file():
            return None
        if next((root / VIDEO_FOLDER).rglob(f"*{SUFFIX}"), None):
            return root
    return None


def conditions_name(name: str) -> str:
    """What that trainer looks for as a clip's text; `name` is a path without suffix."""
    file = PurePosixPath(name).name
    return f"condition_{file.removeprefix('latent_')}" if file.startswith("latent_") else name


def _conditions_names(names: list[str]) -> list[tuple[str, ...]]:
    """What the text of each clip may be called, the first that is there counts: no two have the same.

    `conditions/condition_<x>` is of the clip of that name, or of `latent_<x>` beside no folder, or of the
    only `latent_<x>`. Other texts lie where the latents do, as `condition_<x>` or under their name.
    """
    wanted = Counter(map(conditions_name, names))
    own = set(names)
    found: list[tuple[str, ...]] = []
    for name in names:
        top, path = conditions_name(name), PurePosixPath(name)
        if top == name:
            found.append((name,))
            continue
        is_its_own = top not in own and (wanted[top] == 1 or path.parent == PurePosixPath("."))
        beside = str(path.with_name(top))
        candidates = ([top] if is_its_own else []) + ([beside] if beside not in {top, *own} else [])
        found.append((*candidates, name))
    return found


class PtFiles:
    """The files of such a folder, with an index made from what lies there.

    Attributes:
        reference_sizes: of each item's reference, which may be shorter than its clip.
        notices: what was skipped, and why.
    """

    def __init__(self, root: Path, reference_dir: str | None = None):
        """Looks at every file; the numbers in it are read when they are needed.

        Raises:
            DataError: a file can't be read, or no clip has all its files.
        """
        self.root = root
        self.notices: list[str] = []
        self.reference_sizes: list[str] = []
        items = []
        paths = sorted((root / VIDEO_FOLDER).rglob(f"*{SUFFIX}"))
        names = [path.relative_to(root / VIDEO_FOLDER).with_suffix("").as_posix() for path in paths]
        for name, texts in zip(names, _conditions_names(names), strict=True):
            texts = tuple(f"{CONDITIONS}/{text}{SUFFIX}" for text in texts)
            parts = [next((text for text in texts if (root / text).is_file()), texts[0])]
            parts += [f"{reference_dir}/{name}{SUFFIX}"] if reference_dir else []
            absent = [part for part in parts if not (root / part).is_file()]
            if absent:
                self.notices.append(f"{name} is skipped: {root / absent[0]} is missing")
                continue
            items.append(self._item(name, *parts))
            self.reference_sizes.append(self._pixels(parts[-1])[0] if reference_dir else "")
        if not items:
            raise DataError(f"{root}: no clip has all its files. " + "; ".join(self.notices[:3]))
        self.index = Index(model={}, settings={}, items=tuple(items), family=FAMILY.name)

    def require(self, files: Iterable[CachedFile]) -> None:
        """Looks at the texts; at all else it was looked when the folder was opened."""
        texts = {one.path for one in files if one.path.startswith(f"{CONDITIONS}/")}
        require_one_width(self.root, {_text(self.root / path)[0].shape[-1] for path in texts})

    def tensor(self, file: CachedFile, role: str) -> Tensor:
        """[128, f, h, w] float32."""
        if role == MASK:
            raise DataError(f"{self.root}: folders of LTX-Video-Trainer have no masks")
        path = self.root / file.path
        data = _load(path)
        size = _size(path, data)
        latents: Tensor = data["latents"].flatten(0, -2).unflatten(0, size).permute(3, 0, 1, 2)
        return latents.to(torch.float32, memory_format=torch.contiguous_format, copy=True)

    def text(self, file: CachedFile) -> Embedding:
        """Its embedding [L, D], without padding."""
        path = self.root / file.path
        embeds, mask = _text(path)
        return {PROMPT: embeds.flatten(0, -2)[mask.flatten().bool()].clone()}

    def _item(self, name: str, conditions: str, reference: str | None = None) -> Example:
        latents = f"{VIDEO_FOLDER}/{name}{SUFFIX}"
        size, fps = self._pixels(latents)
        video = {LATENTS: self._file(latents)}
        if reference:
            video[REFERENCE] = self._file(reference)
        captions = (Caption("", self._file(conditions)),)
        return Example(name, size, fps, {VIDEO: video}, captions)

    def _pixels(self, latents: str) -> tuple[str, float]:
        """The size of a video or reference in pixels and frames, and its rate."""
        path = self.root / latents
        data = _load(path)
        return str(FAMILY.grid.pixels(_size(path, data))), _fps(path, data)

    def _file(self, path: str) -> CachedFile:
        return CachedFile(path, _content(self.root / path))


def _content(path: Path) -> str:
    """Changes with what is in a file. The checksums that it carries itself spare reading it all."""
    try:
        with zipfile.ZipFile(path) as archive:
            # The first folder in the archive is called after the file.
            parts = [(i.filename.partition("/")[2], i.file_size, i.CRC) for i in archive.infolist()]
    except (OSError, zipfile.BadZipFile) as error:
        raise _unreadable(path, error) from error
    return sha256_json(sorted(part for part in parts if part[0].startswith("data")))


def _load(path: Path) -> dict[str, Any]:
    """The dictionary in a file; tensors in it are mapped, not read. No code in a file is run."""
    policy().require_read(path)  # it may be a link
    try:
        data = read_torch_file(path, mmap=True)
    except (OSError, RuntimeError, ValueError) as error:
        raise _unreadable(path, error) from error
    if not isinstance(data, dict):
        raise DataError(f"{path}: expected a dictionary, found {type(data).__name__}")
    return data


def _unreadable(path: Path, error: Exception) -> DataError:
    reason = cut(str(error).partition("\n")[0], 200) or type(error).__name__
    return DataError(f"{path}: can't be read as a .pt file of tensors ({reason})")


def _size(path: Path, data: dict[str, Any]) -> LatentSize:
    """Of the latents; checks that they have it."""
    latents = _tensor(path, data, "latents")
    frames, height, width = (_count(path, data, name) for name in ("num_frames", "height", "width"))
    size = LatentSize(frames, height, width)
    if latents.shape[-1] != CHANNELS or latents.numel() != size.tokens * CHANNELS:
        raise DataError(
            f"{path}: latents of shape {cut(str(list(latents.shape)))} are not {frames} frames of "
            f"{height} rows and {width} columns; expected [{size.tokens}, {CHANNELS}]"
        )
    return size


def _text(path: Path) -> tuple[Tensor, Tensor]:
    """The embedding [..., D] and the mask of its tokens; checks that they belong together."""
    data = _load(path)
    embeds = _tensor(path, data, "prompt_embeds")
    mask = _entry(path, data, "prompt_attention_mask", Tensor)
    if mask.numel() != embeds.numel() // embeds.shape[-1] or not mask.any():
        raise DataError(
            f"{path}: prompt_attention_mask of shape {cut(str(list(mask.shape)))} marks no tokens of "
            f"prompt_embeds of shape {cut(str(list(embeds.shape)))}"
        )
    return embeds, mask


def _tensor(path: Path, data: dict[str, Any], name: str) -> Tensor:
    """Floats of two or more dimensions, none of them empty."""
    tensor: Tensor = _entry(path, data, name, Tensor)
    if not tensor.is_floating_point() or tensor.ndim < 2 or tensor.numel() == 0:
        raise DataError(
            f"{path}: {name} is {tensor.dtype} of shape {cut(str(list(tensor.shape)))}, expected floats "
            "[tokens, channels]"
        )
    return tensor


def _count(path: Path, data: dict[str, Any], name: str) -> int:
    value = _number(_entry(path, data, name, (int, float, Tensor)))
    if value is None or not 1 <= value <= LARGEST_COUNT:
        raise DataError(f"{path}: {name} is no count from 1 to {LARGEST_COUNT:,}")
    return int(value)


def _fps(path: Path, data: dict[str, Any]) -> float:
    if data.get("fps") is None:
        return DEFAULT_FPS
    value = _number(_entry(path, data, "fps", (int, float, Tensor)))
    if value is None or not 0 <= value <= LARGEST_COUNT:
        raise DataError(f"{path}: fps is no rate above 0 and up to {LARGEST_COUNT:,}")
    return float(value) or DEFAULT_FPS


def _number(value: float | Tensor) -> float | None:
    """A number, or a tensor of one; None where it is none."""
    if isinstance(value, Tensor):
        if value.numel() != 1 or value.is_complex():
            return None
        value = value.item()
    return value


def _entry(path: Path, data: dict[str, Any], name: str, kind: Any) -> Any:
    value = data.get(name)
    if not isinstance(value, kind):
        found = cut(", ".join(shown(key, 40) for key in data), 200)
        raise DataError(f"{path}: has no {name!r}; it has {found or 'nothing'}")
    if isinstance(value, Tensor):
        try:
            require_stored(path, value)
        except ValueError as error:
            raise DataError(f"{path}: {name}: {error}") from error
    return value
