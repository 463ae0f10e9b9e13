"""Preprocessed folders of LTX-Video-Trainer: `.pt` files, read as they are.

    latents/<name>.pt             latents [N, 128], num_frames, height, width (of the latents), fps
    conditions/<name>.pt          prompt_embeds [256, D], prompt_attention_mask [256]
    <reference folder>/<name>.pt  as latents/

Tokens are in the order frame, row, column. Older files of the text are called `condition_<x>.pt` where
those of the latents are called `latent_<x>.pt`; the oldest have no fps, which then counts as 24.
There is no embedding of an empty caption, there are no masks, and captions are not recorded.

Shapes: f h w latent frames, rows, columns, N = f*h*w tokens, L text tokens, D text width.
"""

import zipfile
from pathlib import Path, PurePosixPath
from typing import Any

import torch
from torch import Tensor

from ..errors import DataError
from ..files import sha256_file, sha256_json
from ..geometry import SPATIAL_COMPRESSION, TEMPORAL_COMPRESSION, LatentSize, VideoSize
from ..permissions import policy
from ..tensor_files import read_torch_file
from .index import CONDITIONS, FOLDER_NAME, LATENTS, Index, Item, Stored, index_path

SUFFIX = ".pt"
DEFAULT_FPS = 24.0


def find_root(folder: Path) -> Path | None:
    """The folder with `latents/*.pt`, the one given or `.precomputed` in it; None if neither is.

    A folder with an index of ours is none of theirs.
    """
    for root in (folder / FOLDER_NAME, folder):
        if index_path(root).is_file():
            return None
        if next((root / LATENTS).rglob(f"*{SUFFIX}"), None):
            return root
    return None


def conditions_name(name: str) -> str:
    """What the text of a clip is called; `name` is a path without suffix."""
    path = PurePosixPath(name)
    if path.name.startswith("latent_"):
        return str(path.with_name("condition_" + path.name.removeprefix("latent_")))
    return name


class PtFiles:
    """The files of such a folder, with an index made from what lies there.

    Attributes:
        reference_sizes: of each item's reference, which may be shorter than its clip.
        notices: what was left out, and why.
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
        for path in sorted((root / LATENTS).rglob(f"*{SUFFIX}")):
            name = path.relative_to(root / LATENTS).with_suffix("").as_posix()
            parts = [f"{CONDITIONS}/{conditions_name(name)}{SUFFIX}"]
            parts += [f"{reference_dir}/{name}{SUFFIX}"] if reference_dir else []
            absent = [part for part in parts if not (root / part).is_file()]
            if absent:
                self.notices.append(f"{name} is left out: {root / absent[0]} is missing")
                continue
            items.append(self._item(name, *parts))
            self.reference_sizes.append(self._pixels(parts[-1])[0] if reference_dir else "")
        if not items:
            raise DataError(f"{root}: no clip has all its files. " + "; ".join(self.notices[:3]))
        self.index = Index(model={}, settings={}, items=tuple(items))

    def latents(self, stored: Stored) -> Tensor:
        """[128, f, h, w] float32."""
        path = self.root / stored.path
        data = _load(path)
        size = _size(path, data)
        tokens = data["latents"].flatten(0, -2)
        return (
            tokens.unflatten(0, (size.frames, size.height, size.width))
            .permute(3, 0, 1, 2)
            .to(torch.float32, memory_format=torch.contiguous_format, copy=True)
        )

    def prompt_embeds(self, stored: Stored) -> Tensor:
        """[L, D], without padding."""
        path = self.root / stored.path
        data = _load(path)
        embeds = _entry(path, data, "prompt_embeds", Tensor)
        mask = _entry(path, data, "prompt_attention_mask", Tensor)
        width = embeds.shape[-1]
        return embeds.reshape(-1, width)[mask.reshape(-1).bool()].clone()

    def mask(self, stored: Stored) -> Tensor:
        raise DataError(f"{self.root}: folders of LTX-Video-Trainer have no masks")

    def _item(self, name: str, conditions: str, reference: str | None = None) -> Item:
        latents = f"{LATENTS}/{name}{SUFFIX}"
        size, fps = self._pixels(latents)
        return Item(
            name=name,
            caption="",
            size=size,
            fps=fps,
            latents=self._stored(latents),
            conditions=self._stored(conditions),
            reference_latents=self._stored(reference) if reference else None,
        )

    def _pixels(self, latents: str) -> tuple[str, float]:
        """The size of a video or reference in pixels and frames, and its rate."""
        path = self.root / latents
        data = _load(path)
        size = _size(path, data)
        pixels = VideoSize(
            size.width * SPATIAL_COMPRESSION,
            size.height * SPATIAL_COMPRESSION,
            (size.frames - 1) * TEMPORAL_COMPRESSION + 1,
        )
        return str(pixels), float(data.get("fps") or DEFAULT_FPS)

    def _stored(self, path: str) -> Stored:
        return Stored(path, _content(self.root / path))


def _content(path: Path) -> str:
    """Changes with what is in a file. The checksums that it carries itself spare reading it all."""
    if not zipfile.is_zipfile(path):
        return sha256_file(path)
    with zipfile.ZipFile(path) as archive:
        # The first folder in the archive is called after the file.
        parts = [(i.filename.partition("/")[2], i.file_size, i.CRC) for i in archive.infolist()]
    return sha256_json(sorted(part for part in parts if part[0].startswith("data")))


def _load(path: Path) -> dict[str, Any]:
    """The dictionary in a file; tensors in it are mapped, not read. No code in a file is run."""
    policy().require_read(path)  # it may be a link
    try:
        mapped = zipfile.is_zipfile(path)
        data = read_torch_file(path, mapped)
    except (OSError, RuntimeError, ValueError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DataError(f"{path}: can't be read as a .pt file of tensors ({reason})") from error
    if not isinstance(data, dict):
        raise DataError(f"{path}: expected a dictionary, found {type(data).__name__}")
    return data


def _size(path: Path, data: dict[str, Any]) -> LatentSize:
    """Of the latents; checks that they have it."""
    latents = _entry(path, data, "latents", Tensor)
    frames, height, width = (
        int(_entry(path, data, name, (int, Tensor))) for name in ("num_frames", "height", "width")
    )
    size = LatentSize(frames, height, width)
    if latents.numel() != size.tokens * latents.shape[-1]:
        raise DataError(
            f"{path}: latents of shape {list(latents.shape)} are not {frames} frames of "
            f"{height} rows and {width} columns; expected [{size.tokens}, channels]"
        )
    return size


def _entry(path: Path, data: dict[str, Any], name: str, kind: Any) -> Any:
    value = data.get(name)
    if not isinstance(value, kind):
        raise DataError(f"{path}: has no {name!r}; it has {', '.join(map(repr, data))}")
    return value
