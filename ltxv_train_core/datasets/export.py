"""A preprocessed data set in the layout of LTX-Video-Trainer, see `precomputed`."""

from collections import Counter
from pathlib import Path, PurePosixPath
from typing import Any

import torch
from torch import Tensor

from ..errors import DataError
from ..events import (
    Notice,
    Reporter,
    StopSignal,
    ignore,
    one_by_one,
)
from ..families.names import MASK, PROMPT, VIDEO
from ..permissions import policy
from ..storage.atomic import atomic_path
from ..storage.torch_files import write_torch_file
from .foreign_folders import LATENTS_FOLDERS
from .index import CONDITIONS, Example, Index, folder_of, index_path
from .precomputed import FAMILY, conditions_name
from .pt_files import SUFFIX
from .stored_files import open_files

# LTX-Video-Trainer pads its captions to as many.
_TEXT_TOKENS = 256


def export_reference(
    dataset: Path,
    output: Path,
    dtype: str = "bfloat16",
    report: Reporter = ignore,
    stop: StopSignal | None = None,
) -> Path:
    """Writes latents, text embeddings and references as `.pt` files, each clip with its first caption.

    Args:
        dataset: what `preprocess` wrote.
        output: a folder for nothing else; the files go below latents/, conditions/ and
            reference_latents/ in it.
        dtype: "bfloat16" or "float32", of all numbers.

    Returns:
        `output`.

    Raises:
        DataError: it is no data set, or the folder holds something else.
        Cancelled: when it was stopped.
    """
    files = open_files(Path(dataset))
    if files.index.family != FAMILY.name:
        raise DataError(
            f"{dataset}: is a data set for {files.index.family}; LTX-Video-Trainer trains {FAMILY.name}. Of "
            "LTX-2 choose the format ltx-trainer"
        )
    items, kind = files.index.items, getattr(torch, dtype)
    names = names_in_export([item.name for item in items])
    require_own_folder(output, names)
    for line in _left_behind(files.index):
        report(Notice(line))
    lengths = (len(files.text(item.caption.embedding)[PROMPT]) for item in items)
    length = max([_TEXT_TOKENS, *lengths])
    named = zip(items, names, strict=True)
    for item, name in one_by_one(named, len(items), "export", report, stop):
        embeds = files.text(item.caption.embedding)[PROMPT]
        text = conditions_name(name)
        save_pt(output / CONDITIONS / f"{text}{SUFFIX}", _conditions(embeds.to(kind), length))
        for role, file in item.streams[VIDEO].items():
            if role != MASK:
                latents = files.tensor(file, role).to(kind)
                folder = output / folder_of(VIDEO, role)
                save_pt(folder / f"{name}{SUFFIX}", _latents(latents, item))
    return output


def _latents(latents: Tensor, item: Example) -> dict[str, Tensor | int | float]:
    """[128, f, h, w] as tokens [f*h*w, 128] with their size."""
    _, frames, height, width = latents.shape
    return {
        "latents": latents.permute(1, 2, 3, 0).flatten(0, 2).contiguous(),
        "num_frames": frames,
        "height": height,
        "width": width,
        "fps": item.fps,
    }


def _conditions(embeds: Tensor, length: int) -> dict[str, Tensor]:
    """[L, D] padded with zeros to [length, D]: all texts of a data set have the same length."""
    padded = embeds.new_zeros(length, embeds.shape[1])
    padded[: len(embeds)] = embeds
    return {"prompt_embeds": padded, "prompt_attention_mask": torch.arange(length) < len(embeds)}


def names_in_export(names: list[str]) -> list[str]:
    """Names without suffix, as that trainer gives them, where two clips don't get the same one.

    Nor two texts: `latent_<x>` is written as `clip_latent_<x>` where its text would be another clip's.
    """
    short = [PurePosixPath(name).with_suffix("").as_posix() for name in names]
    count = Counter(name.casefold() for name in short)
    found = [
        long if count[name.casefold()] > 1 else name
        for long, name in zip(names, short, strict=True)
    ]
    texts = Counter(conditions_name(name).casefold() for name in found)
    for number, name in enumerate(found):
        while conditions_name(name) != name and texts[conditions_name(name).casefold()] > 1:
            name = str(PurePosixPath(name).with_name(f"clip_{PurePosixPath(name).name}"))
        while name != found[number] and name.casefold() in texts:
            name = str(PurePosixPath(name).with_name(f"clip_{PurePosixPath(name).name}"))
        texts[conditions_name(name).casefold()] += name != found[number]
        found[number] = name
    return found


def _left_behind(index: Index) -> list[str]:
    """What that layout has no place for."""
    more = sum(len(item.captions) > 1 for item in index.items)
    masks = sum(MASK in item.streams[VIDEO] for item in index.items)
    lines = []
    if more:
        lines.append(f"{more} clips have several captions: the first of each is exported")
    if masks:
        lines.append(f"{masks} clips have a mask, for which the layout has no place")
    return lines


def require_own_folder(output: Path, names: list[str]) -> None:
    """Refuses a folder in which other clips would be taken for this data set's."""
    policy().require_write(output)
    if index_path(output).is_file():
        raise DataError(f"{output}: is a data set itself; choose another folder")
    known = {f"{name}{SUFFIX}" for name in names}
    for folder in LATENTS_FOLDERS:
        for path in sorted((output / folder).rglob(f"*{SUFFIX}")):
            if path.relative_to(output / folder).as_posix() not in known:
                raise DataError(f"{output}: holds another clip, {path}; choose an empty folder")


def save_pt(path: Path, data: dict[str, Any]) -> None:
    """Writes a `.pt` file, atomically."""
    with atomic_path(path) as temporary:
        write_torch_file(temporary, data)
