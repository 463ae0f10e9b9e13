"""A data set from frames in memory, and its clips back in memory.

Files are named by their content, and exact: the same frames are never written twice, and what is read
is what was given. F frames, H W pixels.
"""

import hashlib
import json
import os
import re
from collections.abc import Callable, Iterable, Sequence
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
from ..media.formats import is_sound
from ..media.info import IMAGE_FPS, MediaInfo
from ..media.sound import LIKELY_RATE, Sound, has_sound, probe_sound, read_sound, read_sound_file
from ..media.sound_picture import sound_picture
from ..media.video import iterate_frames, probe
from ..media.write import write_exact_sound, write_exact_video
from ..permissions import Ledger, require_own, write_own
from ..storage.atomic import atomic_path
from ..storage.reading import is_regular, parse_json, read_text
from ..units import byte_size
from .manifest import Clip, Manifest, read_manifest
from .time_ranges import written_ranges

METADATA = "dataset.json"
CLIPS = "clips"
COLUMNS = (
    "caption",
    "media_path",
    "reference_path",
    "mask_path",
    "audio",
    "speech",
    "reference_audio",
    "audio_mask",
)
SHOWN_SOUND_PX = 512
"""The width of the picture that a sound alone is shown as."""


@dataclass(frozen=True)
class Footage:
    """A clip in memory.

    Attributes:
        frames: uint8 RGB [F, H, W, 3]; None of a sound alone.
        captions: any number of them.
        sound: what is heard with them; None: nothing.
    """

    name: str
    frames: np.ndarray | None
    fps: float
    captions: tuple[str, ...]
    sound: Sound | None = None

    @property
    def seconds(self) -> float:
        assert self.frames is not None, "of a sound alone its own"
        return len(self.frames) / self.fps

    @property
    def shown(self) -> np.ndarray:
        """Its frames; of a sound alone a picture of it, as one frame."""
        if self.frames is not None:
            return self.frames
        assert self.sound is not None, "a clip is frames, a sound or both"
        return np.asarray(sound_picture(self.sound, SHOWN_SOUND_PX))[None]


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
    before = clips_of(read_manifest(add_to), report) if add_to else []
    rows = [row_of(clip, folder) for clip in before]
    for clip in one_by_one(clips, total, "write clips", report, stop):
        rows.append(_write_clip(clip, folder))
    return write_rows(folder / METADATA, rows, _has_clips_named_by_content)


def _write_clip(clip: Footage, folder: Path) -> dict[str, object]:
    """Writes the files of a clip and returns its row. Sound lies beside the frames, in a file of its own."""
    paths = []
    if clip.frames is not None:
        if len(clip.frames) == 1 and clip.sound is not None:
            raise DataError("an image can't have a sound: give the image alone, or several frames")
        paths.append(write_footage(folder / CLIPS, clip.frames, clip.fps))
    if clip.sound is not None:
        paths.append(write_sound(folder / CLIPS, clip.sound))
    media, *apart = (path.relative_to(folder).as_posix() for path in paths)
    return row(clip.captions, media, audio=apart[0] if apart else "")


def write_sound(folder: Path, sound: Sound) -> Path:
    """Writes a sound under the name of its content."""
    content = hashlib.sha256(f"{sound.samples.shape} {sound.rate} ".encode())
    content.update(np.ascontiguousarray(sound.samples).data)
    path = folder / f"{content.hexdigest()[:20]}.wav"
    if not path.is_file():
        write_exact_sound(path, sound)
    return path


def _is_named_by_content(path: Path) -> bool:
    """Whether a data set's metadata is one that an earlier version has written."""
    return is_regular(path) and _has_clips_named_by_content(read_text(path, errors="replace"))


def _has_clips_named_by_content(text: str) -> bool:
    return has_our_form(text) and bool(re.search(rf'"{CLIPS}/[0-9a-f]{{20}}\.(mp4|png|wav)"', text))


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
            info = probe_sound(clip.media) if is_sound(clip.media) else probe(clip.media)
            readable.append((clip, info))
        except DataError as error:
            report(ClipSkipped(clip.name, str(error)))
    _require_memory([info for _, info in readable], max_frames)
    found = []
    for clip, info in one_by_one(readable, len(readable), "read clips", report, stop):
        try:
            found.append(_footage(clip, info, max_frames))
        except DataError as error:
            report(ClipSkipped(clip.name, str(error)))
    if not found:
        raise DataError("none of the data set's clips can be read; the log names each reason")
    return found


def _footage(clip: Clip, info: MediaInfo, max_frames: int) -> Footage:
    frames = None if info.is_sound else _first_frames(clip.media, max_frames)
    fps = IMAGE_FPS if info.is_image else info.fps
    count = min(info.frames, max_frames or info.frames) if frames is None else len(frames)
    sound = None if info.is_image else _sound(clip, count / fps)
    return Footage(clip.name, frames, fps, clip.captions, sound)


def _sound(clip: Clip, seconds: float) -> Sound | None:
    """What is heard with a clip's frames, at its own rate; None: nothing."""
    if clip.audio_problem:
        raise DataError(clip.audio_problem)
    if clip.audio or is_sound(clip.media):
        return read_sound_file(clip.audio or clip.media, None, seconds)
    return read_sound(clip.media, None, seconds) if has_sound(clip.media) else None


def silence(seconds: float) -> Sound:
    """No sound, of so many seconds."""
    return Sound(np.zeros((2, max(1, round(seconds * LIKELY_RATE))), np.float32), LIKELY_RATE)


def row(captions: tuple[str, ...], media_path: str, **columns: str) -> dict[str, object]:
    """A clip as metadata has it: several captions are a list; of the other columns those that say something."""
    assert columns.keys() <= set(COLUMNS), columns
    caption = captions[0] if len(captions) == 1 else list(captions) or ""
    values: dict[str, object] = {"caption": caption, "media_path": media_path}
    return values | {name: columns[name] for name in COLUMNS if columns.get(name)}


def clips_of(manifest: Manifest, report: Reporter) -> list[Clip]:
    """The clips whose columns can all be written again; of the others it reports what is wrong."""
    for clip in manifest.clips:
        if clip.audio_problem:
            report(ClipSkipped(clip.name, clip.audio_problem))
    return [clip for clip in manifest.clips if not clip.audio_problem]


def require_nothing_lost(path: Path, done: Sequence[Clip], clips: Sequence[Clip]) -> None:
    """Raises `DataError` where a folder's metadata has more than its media, their captions and what is said in them,
    which alone are kept when it is written again.

    Args:
        done: the clips of the metadata.
        clips: those of the folder.
    """
    media = {clip.media for clip in clips}
    kept = {"caption", "media_path", "speech"}
    if any(row_of(c, path.parent).keys() - kept or c.media not in media for c in done):
        raise DataError(
            f"{path}: has references, masks, sounds or clips that lie elsewhere, which would be lost: give it "
            "as the source, or write to another file"
        )


def row_of(clip: Clip, folder: Path) -> dict[str, object]:
    """A clip as metadata in `folder` has it, with all that is known of it."""

    def named(path: Path | None) -> str:
        return _relative(path, folder) if path else ""

    return row(
        clip.captions,
        named(clip.media),
        reference_path=named(clip.reference),
        mask_path=named(clip.mask),
        audio=named(clip.audio),
        speech=clip.speech,
        reference_audio=named(clip.reference_audio),
        audio_mask=written_ranges(clip.audio_mask),
    )


def _relative(path: Path, folder: Path) -> str:
    """With forward slashes; a file on another drive keeps its whole path."""
    try:
        return Path(os.path.relpath(path, folder)).as_posix()
    except ValueError:
        return path.as_posix()


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
