"""What a data set looks like: a contact sheet of its clips, and clips beside their decoded latents."""

from dataclasses import replace
from pathlib import Path
from typing import TypeAlias, TypeVar

import numpy as np
from PIL import Image
from safetensors.torch import load_file

from ..datasets.cache import Cache
from ..datasets.index import SHEET_NAME, VERIFICATION_NAME
from ..datasets.summary import Verified
from ..errors import DataError
from ..families.names import AUDIO, LATENTS
from ..geometry import VideoSize
from ..media.sheet import LARGEST_THUMBNAIL_PX, contact_sheet
from ..media.sound import Sound
from ..media.tensors import tensor_to_frames
from ..media.texts import no_graph, png_texts
from ..media.video import read_frames
from ..storage.atomic import atomic_path
from .encoders import VideoEncoder
from .planner import EncodeTask, PlannedExample
from .progress import PassLog
from .sounds import sound_of

SHEET_CLIPS = 8
SHEET_FRAMES = 4
SHEET_DECODED_FRAMES = 9
LONGEST_CAPTION = 160
SHEET_SOUND_RATE = 16000

Item = TypeVar("Item")


Strips: TypeAlias = dict[EncodeTask, np.ndarray]
"""Small pictures of clips, one beside the other."""


def on_sheet(planned: list[PlannedExample]) -> list[PlannedExample]:
    """The clips that are on the contact sheet."""
    return spread(planned, SHEET_CLIPS)


def strip_of(frames: np.ndarray) -> np.ndarray:
    """A clip on the contact sheet, from its first frames."""
    return _strip(frames[:SHEET_DECODED_FRAMES])


def write_sheet(
    planned: list[PlannedExample], root: Path, strips: Strips, megapixels: float
) -> None:
    """Draws a contact sheet of some clips, as they are trained.

    Those of which there is no strip are read; files that are gone are skipped.
    """
    rows, labels, sounds = [], [], []
    for clip in on_sheet(planned):
        item, heard = clip.example, _heard(clip, megapixels)
        try:
            strip = _seen(clip, strips, megapixels)
        except DataError:
            continue
        rows.append([strip])
        sounds.append([heard])
        caption = " ".join(item.caption.text.split())[:LONGEST_CAPTION]
        labels.append(f"{item.name}  {_length(clip)}  {caption}")
    _save(contact_sheet(rows, labels, SHEET_FRAMES, sounds), root / SHEET_NAME)


def _seen(clip: PlannedExample, strips: Strips, megapixels: float) -> np.ndarray:
    """A strip of a clip's frames; of a sound alone a line, below which the sound is drawn."""
    video = clip.video
    if video is None:
        return np.zeros((1, 1, SHEET_FRAMES * LARGEST_THUMBNAIL_PX, 3), np.uint8)
    if video in strips:
        return strips[video]
    size, selection = _few(video.size), video.selection
    return strip_of(read_frames(video.media, size, selection, video.like, megapixels))


def _length(clip: PlannedExample) -> str:
    """The size of a clip in words, of a sound alone its seconds."""
    item = clip.example
    if clip.video is None:
        return f"{VideoSize.parse(item.size).frames / item.fps:.2f} s of sound"
    return f"{item.size}  {item.fps:g} fps"


def _heard(clip: PlannedExample, megapixels: float) -> Sound | None:
    """The sound that is trained; None where there is none, or it can't be read any more."""
    found = next((task for task in clip.tasks if task.stream == AUDIO), None)
    if found is None:
        return None
    try:
        return sound_of(found, SHEET_SOUND_RATE, megapixels)
    except DataError:
        return None


def verify(
    encoder: VideoEncoder,
    planned: list[PlannedExample],
    count: int,
    cache: Cache,
    log: PassLog,
    megapixels: float,
) -> tuple[Verified, ...]:
    """Decodes latents of some clips and draws them beside what they were made from.

    Returns:
        (name, peak signal-to-noise ratio in dB) of each.
    """
    chosen = spread([clip for clip in planned if clip.video], count)
    rows, results = [], []
    for clip in log.each("verify", chosen, len(chosen), lambda clip: clip.example.name):
        video = clip.video
        assert video is not None
        try:
            original = read_frames(video.media, video.size, video.selection, video.like, megapixels)
        except DataError:
            continue
        latents = load_file(cache.root / video.file.path)[LATENTS]
        decoded = tensor_to_frames(encoder.decode(latents[None]))[0]
        results.append((clip.example.name, psnr(original, decoded)))
        rows.append([_strip(original), _strip(decoded)])
    if rows:
        labels = [f"{name}: original and decoded, {db:.1f} dB" for name, db in results]
        _save(contact_sheet(rows, labels, SHEET_FRAMES), cache.root / VERIFICATION_NAME)
    return tuple(results)


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    """Peak signal-to-noise ratio in dB of two uint8 videos; infinite where they are equal."""
    error = np.mean((a.astype(np.float32) - b.astype(np.float32)) ** 2)
    return float(10 * np.log10(255**2 / error)) if error else float("inf")


def spread(items: list[Item], count: int) -> list[Item]:
    """Up to `count` of them, evenly spaced."""
    chosen = np.linspace(0, len(items) - 1, min(count, len(items))).round().astype(int)
    return [items[i] for i in chosen]


def _few(size: VideoSize) -> VideoSize:
    """The first frames are enough for a small picture, and quick to decode."""
    return replace(size, frames=min(size.frames, SHEET_DECODED_FRAMES))


def _strip(frames: np.ndarray) -> np.ndarray:
    """A few evenly spaced frames, small."""
    chosen = [frames[i] for i in spread(list(range(len(frames))), SHEET_FRAMES)]
    height, width = frames.shape[1:3]
    scale = min(1.0, LARGEST_THUMBNAIL_PX / max(height, width))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    pictures = (Image.fromarray(frame).resize(size, Image.Resampling.LANCZOS) for frame in chosen)
    return np.stack([np.asarray(picture) for picture in pictures])


def _save(picture: Image.Image, path: Path) -> None:
    with atomic_path(path) as temporary:
        texts = png_texts(no_graph("it shows a data set"))
        picture.save(temporary, compress_level=1, pnginfo=texts)
