"""A data set from frames in memory, and its clips back in memory.

Files are named by their content, and exact: the same frames are never written twice, and what is read
is what was given. F frames, H W pixels.
"""

import hashlib
import json
import os
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psutil
from PIL import Image

from ..errors import DataError
from ..events import (
    ClipSkipped,
    Reporter,
    StopSignal,
    ignore,
    one_by_one,
)
from ..media.info import IMAGE_FPS, MediaInfo
from ..media.video import iterate_frames, probe
from ..media.write import write_exact_video
from ..permissions import Ledger, require_own, write_own
from ..storage.atomic import atomic_path
from ..storage.reading import is_regular, parse_json, read_text
from ..units import byte_size
from .manifest import Clip, Manifest, read_manifest

METADATA = "dataset.json"
CLIPS = "clips"
COLUMNS = ("caption", "media_path", "reference_path", "mask_path")


@dataclass(frozen=True)
class Footage:
    """A clip in memory: frames uint8 RGB [F, H, W, 3], and any number of captions."""

    name: str
    frames: np.ndarray
    fps: float
    captions: tuple[str, ...]


def write_dataset(
    folder: Path,
    clips: Iterable[Footage],
    total: int,
    add_to: Path | None = None,
    report: Reporter = ignore,
    stop: StopSignal | None = None,
) -> Path:
    """Writes clips and their captions; existing files stay.

    Args:
        clips: taken one at a time; their names don't matter.
        total: how many they are.
        add_to: a data set whose clips come before these; its files stay where they are.

    Returns:
        The metadata file.

    Raises:
        DataError: the data set to add to can't be read, or the folder holds files of somebody else.
        NotAllowedError: the folder may not be written, or the data set may not be read.
        Cancelled: when it was stopped.
    """
    Ledger(folder).claim(lambda: _is_named_by_content(folder / METADATA))
    require_own(folder / METADATA, _has_clips_named_by_content)
    before = read_manifest(add_to).clips if add_to else ()
    rows = [row(clip.captions, *relative_paths(clip, folder)) for clip in before]
    for clip in one_by_one(clips, total, "write clips", report, stop):
        path = write_footage(folder / CLIPS, clip.frames, clip.fps)
        rows.append(row(clip.captions, path.relative_to(folder).as_posix()))
    return write_rows(folder / METADATA, rows, _has_clips_named_by_content)


def _is_named_by_content(path: Path) -> bool:
    """Whether a data set's metadata is one that an earlier version has written."""
    return is_regular(path) and _has_clips_named_by_content(read_text(path, errors="replace"))


def _has_clips_named_by_content(text: str) -> bool:
    return has_our_form(text) and bool(re.search(rf'"{CLIPS}/[0-9a-f]{{20}}\.(mp4|png)"', text))


def write_footage(folder: Path, frames: np.ndarray, fps: float) -> Path:
    """Writes frames as a video, or one frame as an image, under the name of their content."""
    assert frames.dtype == np.uint8, frames.dtype
    content = hashlib.sha256(f"{frames.shape} {fps:.6f} ".encode())
    content.update(np.ascontiguousarray(frames).data)
    name = content.hexdigest()[:20]
    if len(frames) == 1:
        path = folder / f"{name}.png"
        if not path.is_file():
            with atomic_path(path) as temporary:
                Image.fromarray(frames[0]).save(temporary, "PNG")
        return path
    path = folder / f"{name}.mp4"
    if not path.is_file():
        grey = bool((frames == frames[..., :1]).all())
        write_exact_video(path, frames, fps, grey)
    return path


def read_footage(
    manifest: Manifest,
    max_frames: int = 0,
    report: Reporter = ignore,
    stop: StopSignal | None = None,
) -> list[Footage]:
    """Reads whole clips at their own size. Clips that can't be read are reported and skipped.

    Args:
        max_frames: frames from the beginning of each clip; 0 takes all.

    Raises:
        DataError: no clip can be read, or together they don't fit into memory.
        Cancelled: when it was stopped.
    """
    for skipped in manifest.skipped:
        report(ClipSkipped(skipped.name, skipped.reason))
    manifest.report_notes(report)
    readable: list[tuple[Clip, MediaInfo]] = []
    for clip in manifest.clips:
        try:
            readable.append((clip, probe(clip.media)))
        except DataError as error:
            report(ClipSkipped(clip.name, str(error)))
    _require_memory([info for _, info in readable], max_frames)
    found = []
    for clip, info in one_by_one(readable, len(readable), "read clips", report, stop):
        try:
            frames = _first_frames(clip.media, max_frames)
        except DataError as error:
            report(ClipSkipped(clip.name, str(error)))
            continue
        fps = IMAGE_FPS if info.is_image else info.fps
        found.append(Footage(clip.name, frames, fps, clip.captions))
    if not found:
        raise DataError("none of the data set's clips can be read; the log names each reason")
    return found


def row(
    captions: tuple[str, ...], media_path: str, reference_path: str = "", mask_path: str = ""
) -> dict[str, object]:
    """A clip as metadata has it: several captions are a list."""
    caption = captions[0] if len(captions) == 1 else list(captions) or ""
    values: dict[str, object] = {"caption": caption, "media_path": media_path}
    values |= {"reference_path": reference_path} if reference_path else {}
    return values | ({"mask_path": mask_path} if mask_path else {})


def relative_paths(clip: Clip, folder: Path) -> tuple[str, str, str]:
    """Media, reference and mask as metadata in `folder` names them; empty where there is none.

    Separators are forward slashes; a file on another drive keeps its whole path.
    """
    paths = []
    for path in (clip.media, clip.reference, clip.mask):
        try:
            paths.append(Path(os.path.relpath(path, folder)).as_posix() if path else "")
        except ValueError:
            paths.append(path.as_posix() if path else "")
    return paths[0], paths[1], paths[2]


def write_rows(
    path: Path,
    rows: list[dict[str, object]],
    is_ours: Callable[[str], bool] = lambda text: False,
) -> Path:
    """Writes a json metadata file, unless it is there already just so. Raises as `write_own`."""
    return write_own(path, _text_of(rows), is_ours)


def has_our_form(text: str) -> bool:
    """Whether metadata is just as `write_rows` writes it, maybe with other captions."""
    try:
        rows = parse_json(text)
        is_known = all(row.keys() <= set(COLUMNS) for row in rows)
    except (ValueError, AttributeError, TypeError):
        return False
    return is_known and text == _text_of(rows)


def _text_of(rows: list[dict[str, object]]) -> str:
    return json.dumps(rows, indent=2, ensure_ascii=False) + "\n"


def _first_frames(path: Path, max_frames: int) -> np.ndarray:
    frames = []
    for frame in iterate_frames(path):
        frames.append(frame)
        if len(frames) == max_frames:
            break
    if not frames:
        raise DataError(f"{path}: holds no frame that can be read")
    return np.stack(frames)


def _require_memory(infos: list[MediaInfo], max_frames: int) -> None:
    """Frames in memory are four times as large as uint8: ComfyUI has them as float32."""
    counts = [min(info.frames, max_frames or info.frames) for info in infos]
    sizes = [info.width * info.height * 3 * n for info, n in zip(infos, counts, strict=True)]
    needed = 4 * sum(sizes) + max(sizes, default=0)
    available = psutil.virtual_memory().available
    if needed > available:
        raise DataError(
            f"the frames of {len(infos)} clips need {byte_size(needed)} of memory, and "
            f"{byte_size(available)} are free: take fewer frames of each (max_frames), or "
            "make the references with Write LTXV Reference Videos or with `python -m "
            "ltxv_train_core references`, which hold one frame at a time"
        )
