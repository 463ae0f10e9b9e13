"""Preprocessed folders of ltx-trainer, Lightricks' trainer of LTX-2: `.pt` files of one name in each folder.

    latents/            latents [128, f, h, w] (of older versions [N, 128]), num_frames, height, width, fps
    audio_latents/      latents [8, T, 16]; there may be no latents of videos beside them
    conditions/         video_prompt_embeds [L, D], audio_prompt_embeds [L, D'], prompt_attention_mask [L]
    reference_latents/  as latents/
    video_masks/        mask [f, h, w], 1 where the clip is given
    reference_audio_latents/  as audio_latents/
    audio_masks/        mask [T], 1 where the sound is given

Texts are a text encoder's features, which the model's connectors have not yet finished, padded on the left.
There is no embedding of an empty caption, and captions are not recorded.

Shapes: f h w latent frames, rows, columns, N = f*h*w, T latents of sound, L text tokens, D width.
"""

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from ..errors import DataError
from ..families.names import AUDIO, LATENTS, MASK, REFERENCE, VIDEO
from ..families.registry import family_with
from ..geometry import LatentSize, VideoSize
from . import foreign_folders, precomputed
from .index import CONDITIONS
from .pt_files import SUFFIX, content_of_pt, count_of, entry_of, floats_of, fps_of, load_pt

FAMILY = family_with(AUDIO)
FOLDERS = {
    (VIDEO, LATENTS): "latents",
    (AUDIO, LATENTS): "audio_latents",
    (VIDEO, REFERENCE): "reference_latents",
    (VIDEO, MASK): "video_masks",
    (AUDIO, REFERENCE): "reference_audio_latents",
    (AUDIO, MASK): "audio_masks",
}
_VIDEOS, _SOUNDS = FOLDERS[VIDEO, LATENTS], FOLDERS[AUDIO, LATENTS]
_VIDEO_TEXT, _AUDIO_TEXT, _MASK = (
    "video_prompt_embeds",
    "audio_prompt_embeds",
    "prompt_attention_mask",
)
_OLDER_TEXT = "prompt_embeds"
_MOST_LATENTS_OF_SOUND = 50_000
"""Half an hour."""


@dataclass(frozen=True)
class Clip:
    """A clip of such a folder.

    Attributes:
        name: of its files, without suffix.
        size: of the video, in pixels and frames.
        files: by stream and role.
        text: the file of its features.
    """

    name: str
    size: VideoSize
    fps: float
    files: dict[tuple[str, str], Path]
    text: Path


def find_root(folder: Path) -> Path | None:
    """The folder with such files, the one given or `.precomputed` in it; None if neither is."""
    root = foreign_folders.find_root(folder)
    if root is None:
        return foreign_folders.find_root(folder, _SOUNDS)
    first = next(iter(sorted((root / _VIDEOS).rglob(f"*{SUFFIX}"))))
    try:
        is_whole = floats_of(first, load_pt(first), "latents").ndim == 4
        texts = sorted((root / CONDITIONS).rglob(f"*{SUFFIX}"))
        return root if is_whole or (texts and _VIDEO_TEXT in load_pt(texts[0])) else None
    except DataError:
        return None  # reported where it is read


def read_clips(root: Path) -> tuple[list[Clip], list[tuple[str, str]]]:
    """Looks at every file.

    Returns:
        clips, and those that are skipped with the reason.
    """
    clips, skipped = [], []
    seen, heard = _names(root, _VIDEOS), _names(root, _SOUNDS)
    for name in sorted(seen | heard):
        try:
            clips.append(_clip(root, name))
        except DataError as error:
            skipped.append((name, str(error)))
    return clips, skipped


def _names(root: Path, folder: str) -> set[str]:
    """Of the files below a folder, without suffix."""
    files = (root / folder).rglob(f"*{SUFFIX}")
    return {path.relative_to(root / folder).with_suffix("").as_posix() for path in files}


def _clip(root: Path, name: str) -> Clip:
    text = root / CONDITIONS / f"{precomputed.conditions_name(name)}{SUFFIX}"
    if not text.is_file():
        raise DataError(f"{text} is missing")
    files = {
        key: root / folder / f"{name}{SUFFIX}"
        for key, folder in FOLDERS.items()
        if (root / folder / f"{name}{SUFFIX}").is_file()
    }
    path = files.get((VIDEO, LATENTS))
    if path is None:
        return Clip(name, *_length(files[AUDIO, LATENTS]), files, text)
    data = load_pt(path)
    size = LatentSize(*latents(path).shape[1:])
    return Clip(name, FAMILY.grid.pixels(size), fps_of(path, data), files, text)


def _length(path: Path) -> tuple[VideoSize, float]:
    """The size and the frames per second that stand for a sound alone, so that it is taken as a whole."""
    found = floats_of(path, load_pt(path), "latents")
    count = found.shape[1] if found.ndim == 3 else 0
    if not 1 <= count <= _MOST_LATENTS_OF_SOUND:
        raise DataError(
            f"{path}: latents of shape {list(found.shape)}, expected [8, T, 16] with T of 1 to "
            f"{_MOST_LATENTS_OF_SOUND:,}"
        )
    grid, stream = FAMILY.grid, FAMILY.streams[AUDIO]
    size = grid.pixels(LatentSize(max(2, (count - 1) // grid.temporal + 1), 1, 1))
    latent_seconds = stream.seconds(1, 1.0)[1] - stream.seconds(0, 1.0)[1]
    return size, size.frames / (count * latent_seconds)


def latents(path: Path) -> Tensor:
    """Those of a video, [128, f, h, w] float32.

    Raises:
        DataError: it holds none.
    """
    data = load_pt(path)
    found = floats_of(path, data, "latents")
    channels = FAMILY.streams[VIDEO].channels
    if found.ndim == 2:
        size = [count_of(path, data, name) for name in ("num_frames", "height", "width")]
        if found.shape != (size[0] * size[1] * size[2], channels):
            raise DataError(f"{path}: latents of shape {list(found.shape)} are not of size {size}")
        found = found.T.unflatten(1, size)
    if found.ndim != 4 or found.shape[0] != channels:
        raise DataError(
            f"{path}: latents of shape {list(found.shape)}, expected [{channels}, f, h, w]"
        )
    return found.to(torch.float32).contiguous()


def sound(path: Path, clip: Clip) -> Tensor:
    """The latents of a clip's sound, [8, T, 16] float32, without those behind the end of the clip.

    Raises:
        DataError: it holds none, or too few.
    """
    found = floats_of(path, load_pt(path), "latents")
    stream = FAMILY.streams[AUDIO]
    wanted = (stream.channels, *stream.latent_shape(clip.size, clip.fps))
    count = wanted[1]
    if found.ndim != 3 or (found.shape[0], found.shape[2]) != (wanted[0], wanted[2]):
        raise DataError(f"{path}: latents of shape {list(found.shape)}, expected {list(wanted)}")
    if found.shape[1] < count:
        raise DataError(
            f"{path}: has {found.shape[1]} latents of sound, and the clip takes {count}"
        )
    return found[:, :count].to(torch.float32).contiguous()


def mask(path: Path, shape: tuple[int, ...]) -> Tensor:
    """Where a clip is to be generated, [f, h, w] bool; there it says where it is given.

    Raises:
        DataError: it holds none of that shape.
    """
    found: Tensor = entry_of(path, load_pt(path), "mask", Tensor)
    if tuple(found.shape) not in (shape, (1, *shape[1:])):
        raise DataError(f"{path}: mask of shape {list(found.shape)}, expected {list(shape)}")
    return found <= 0.5


def sound_mask(path: Path, shape: tuple[int, ...]) -> Tensor:
    """Where a clip's sound is to be generated, [T, bins] bool, without what is behind the end of the clip.

    Raises:
        DataError: it holds none, or one that is too short.
    """
    found: Tensor = entry_of(path, load_pt(path), "mask", Tensor)
    if found.ndim != 1 or len(found) < shape[0]:
        raise DataError(f"{path}: mask of shape {list(found.shape)}, expected [{shape[0]}]")
    return (found[: shape[0], None] <= 0.5).expand(shape).contiguous()


def features(path: Path) -> tuple[Tensor, Tensor | None]:
    """A text's features for the video [L, D] and for the sound [L, D'], padding cut off. Of older files there is
    one, of both side by side or for both.

    Raises:
        DataError: it holds none.
    """
    data = load_pt(path)
    own = _VIDEO_TEXT if _VIDEO_TEXT in data else _OLDER_TEXT
    video = floats_of(path, data, own).flatten(0, -2)
    keep = entry_of(path, data, _MASK, Tensor).flatten().bool()
    if len(keep) != len(video) or not keep.any():
        raise DataError(f"{path}: {_MASK} of {len(keep)} marks no tokens of {len(video)}")
    audio = floats_of(path, data, _AUDIO_TEXT).flatten(0, -2) if _AUDIO_TEXT in data else None
    return video[keep].float(), None if audio is None else audio[keep].float()


def content(path: Path) -> str:
    """Changes with what is in a file."""
    return content_of_pt(path)
