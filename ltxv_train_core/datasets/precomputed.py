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

from collections import Counter
from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from typing import Any

import torch
from torch import Tensor

from ..errors import DataError, cut
from ..families.base import Embedding
from ..families.names import LATENTS, MASK, PROMPT, REFERENCE, VIDEO
from ..families.registry import EARLIEST
from ..geometry import SAME_SIZE, LatentSize
from .cached_tensors import require_one_width
from .index import (
    CONDITIONS,
    CachedFile,
    Caption,
    Example,
    Index,
    folder_of,
)
from .learned import Learned
from .pt_files import SUFFIX, content_of_pt, count_of, entry_of, floats_of, fps_of, load_pt

FAMILY = EARLIEST  # what that trainer trains
CHANNELS = FAMILY.streams[VIDEO].channels
VIDEO_FOLDER = folder_of(VIDEO, LATENTS)


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

    reference_scale = SAME_SIZE

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
            self.reference_sizes.append(_pixels(root / parts[-1])[0] if reference_dir else "")
        if not items:
            raise DataError(f"{root}: no clip has all its files. " + "; ".join(self.notices[:3]))
        self.index = Index(model={}, settings={}, items=tuple(items), family=FAMILY.name)

    def require(self, files: Iterable[CachedFile]) -> None:
        """Looks at the texts; at all else it was looked when the folder was opened."""
        texts = {one.path for one in files if one.path.startswith(f"{CONDITIONS}/")}
        require_one_width(self.root, {_text_width(self.root / path) for path in texts})

    def tensor(self, file: CachedFile, role: str) -> Tensor:
        """[128, f, h, w] float32."""
        if role == MASK:
            raise DataError(f"{self.root}: folders of LTX-Video-Trainer have no masks")
        path = self.root / file.path
        data = load_pt(path)
        size = _size(path, data)
        latents: Tensor = data["latents"].flatten(0, -2).unflatten(0, size).permute(3, 0, 1, 2)
        return latents.to(torch.float32, memory_format=torch.contiguous_format, copy=True)

    def text(self, file: CachedFile) -> Embedding:
        """Its embedding [L, D], without padding."""
        path = self.root / file.path
        embeds, mask = _text(path)
        return {PROMPT: embeds.flatten(0, -2)[mask.flatten().bool()].clone()}

    def text_width(self, file: CachedFile) -> int:
        return _text_width(self.root / file.path)

    def _item(self, name: str, conditions: str, reference: str | None = None) -> Example:
        latents = f"{VIDEO_FOLDER}/{name}{SUFFIX}"
        size, fps = _pixels(self.root / latents)
        video = {LATENTS: self._file(latents)}
        if reference:
            video[REFERENCE] = self._file(reference)
        captions = (Caption("", self._file(conditions)),)
        return Example(name, size, fps, {VIDEO: video}, captions)

    def _file(self, path: str) -> CachedFile:
        return CachedFile(path, _content(self.root / path))


def _size(path: Path, data: dict[str, Any]) -> LatentSize:
    """Of the latents; checks that they have it."""
    latents = floats_of(path, data, "latents")
    if latents.ndim == 4:
        raise DataError(
            f"{path}: is of ltx-trainer, for LTX-2: preprocess its folder once with the model that you train "
            "(dataset_path, or the source of `preprocess`), and train on what that writes"
        )
    frames, height, width = (
        count_of(path, data, name) for name in ("num_frames", "height", "width")
    )
    size = LatentSize(frames, height, width)
    if latents.shape[-1] != CHANNELS or latents.numel() != size.tokens * CHANNELS:
        raise DataError(
            f"{path}: latents of shape {cut(str(list(latents.shape)))} are not {frames} frames of "
            f"{height} rows and {width} columns; expected [{size.tokens}, {CHANNELS}]"
        )
    return size


def _text(path: Path) -> tuple[Tensor, Tensor]:
    """The embedding [..., D] and the mask of its tokens; checks that they belong together."""
    data = load_pt(path)
    embeds = floats_of(path, data, "prompt_embeds")
    mask = entry_of(path, data, "prompt_attention_mask", Tensor)
    if mask.numel() != embeds.numel() // embeds.shape[-1] or not mask.any():
        raise DataError(
            f"{path}: prompt_attention_mask of shape {cut(str(list(mask.shape)))} marks no tokens of "
            f"prompt_embeds of shape {cut(str(list(embeds.shape)))}"
        )
    return embeds, mask


def _pixels_in(path: Path) -> tuple[str, float]:
    """The size of a video or reference in pixels and frames, and its rate."""
    data = load_pt(path)
    return str(FAMILY.grid.pixels(_size(path, data))), fps_of(path, data)


def _text_width_in(path: Path) -> int:
    return _text(path)[0].shape[-1]


_pixels, _text_width, _content = (
    Learned(_pixels_in),
    Learned(_text_width_in),
    Learned(content_of_pt),
)
