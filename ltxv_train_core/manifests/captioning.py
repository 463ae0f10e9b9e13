"""Captions for media that have none, by a vision-language model, in a file that people can edit."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ..config import CaptionSettings
from ..errors import DataError
from ..events import (
    ClipSkipped,
    NeverStop,
    Progress,
    Reporter,
    StopSignal,
    ignore,
    raise_if_stopped,
)
from ..media.video import iterate_frames, probe
from ..models.captioner import VideoCaptioner
from ..models.device import free_memory
from .captions import without_opening
from .clip_files import relative_paths, row
from .editing import report_captions_aside, require_edited, write_edited
from .manifest import Clip, Columns, captions_of, read_manifest


@dataclass(frozen=True)
class CaptionSummary:
    """Counts of captions: `written` are new, `reused` existed. `skipped` are (name, reason) of clips."""

    metadata: Path
    written: int
    reused: int
    skipped: tuple[tuple[str, str], ...]


def write_captions(
    settings: CaptionSettings, report: Reporter = ignore, stop: StopSignal | None = None
) -> CaptionSummary:
    """Captions what has no caption yet, in the source or in the file that is written.

    The file is written after every caption, with what people have edited in it meanwhile. It names all
    clips from the first write on. A clip that can't be read is reported and has no caption. The model
    is not loaded if no caption is missing.

    Raises:
        DataError: the source or the file to write can't be read, or that file is somebody else's.
        NotAllowedError: the source may not be read, or the file may not be written.
        ModelError: there is no such model.
        Cancelled: stopped; the file has the captions up to then.
    """
    skipped: list[tuple[str, str]] = []

    def skip(name: str, reason: str) -> None:
        skipped.append((name, reason))
        report(ClipSkipped(name, reason))

    path = settings.metadata
    clips = _write(path, _clips(settings, skip, report))
    report_captions_aside(path, report)
    missing = [i for i, clip in enumerate(clips) if not clip.captions]
    written = 0
    if missing:
        captioner = VideoCaptioner.load(settings.model, settings.load_in_8bit, report, stop)
        try:
            for done, i in enumerate(missing):
                raise_if_stopped(stop or NeverStop())
                report(Progress("write captions", done, len(missing), "clip"))
                if clips[i].captions:
                    continue
                try:
                    caption = _caption(captioner, clips[i], settings)
                except DataError as error:
                    skip(clips[i].name, str(error))
                    continue
                clips[i] = replace(clips[i], captions=(caption,))
                clips = _write(path, clips)
                written += 1
            report(Progress("write captions", len(missing), len(missing), "clip"))
        finally:
            del captioner
            free_memory()
    return CaptionSummary(path, written, len(clips) - len(missing), tuple(skipped))


def _clips(
    settings: CaptionSettings, skip: Callable[[str, str], None], report: Reporter
) -> list[Clip]:
    """The clips of the source, with the captions that it has."""
    columns = Columns(
        settings.caption_column,
        settings.video_column,
        settings.reference_column,
        settings.mask_column,
    )
    path = settings.metadata
    if path.suffix.lower() != ".json" or path.absolute() == settings.source.absolute():
        raise DataError(f"{path}: expected a .json file that is not the source itself")
    manifest = read_manifest(settings.source, columns, require_captions=False)
    for skipped in manifest.skipped:
        skip(skipped.name, skipped.reason)
    manifest.report_notes(report)
    if not manifest.clips:
        raise DataError(f"{settings.source}: holds no media that can be read")
    if settings.source.is_dir() and path.is_file():
        done = read_manifest(path, require_captions=False).clips
        _require_nothing_lost(path, done, manifest.clips)
    require_edited(path)
    return list(manifest.clips)


def _require_nothing_lost(path: Path, done: Sequence[Clip], clips: Sequence[Clip]) -> None:
    """Writing a folder's metadata again keeps its media and captions only."""
    media = {clip.media for clip in clips}
    if any(clip.reference or clip.mask or clip.media not in media for clip in done):
        raise DataError(
            f"{path}: has references, masks or clips that lie elsewhere, which would be lost: give it "
            "as the source, or write to another file"
        )


def _caption(captioner: VideoCaptioner, clip: Clip, settings: CaptionSettings) -> str:
    """
    Raises:
        DataError: the clip can't be read, or the model has no words for it.
    """
    frames, fps = sample_frames(clip.media, settings.frames_per_second, settings.max_frames)
    text = captioner.caption(frames, fps, settings.instruction, settings.max_new_tokens)
    caption = " ".join(text.split())
    if not caption:
        raise DataError(f"{clip.media}: the model gave an empty caption")
    return without_opening(caption) if settings.remove_llm_prefixes else caption


def sample_frames(path: Path, fps: float, max_frames: int) -> tuple[np.ndarray, float]:
    """Evenly spaced frames of a clip from its first to its last, and how many there are in a second.

    Returns:
        uint8 RGB [F, H, W, 3], F at most `max_frames`; and their rate, at most the clip's own.

    Raises:
        DataError: the file is missing or broken.
    """
    info = probe(path)
    count = min(max(1, round(info.frames * fps / info.fps)), info.frames, max_frames)
    wanted = np.linspace(0, info.frames - 1, count).round().astype(int).tolist()
    frames = _pick(path, wanted)
    return frames, info.fps * count / info.frames


def _pick(path: Path, wanted: Sequence[int]) -> np.ndarray:
    remaining, frames = set(wanted), []
    for i, frame in enumerate(iterate_frames(path)):
        if i in remaining:
            frames.append(frame)
        if i >= wanted[-1]:
            break
    if not frames:
        raise DataError(f"{path}: holds no frame that can be read")
    return np.stack(frames)


def _write(path: Path, clips: list[Clip]) -> list[Clip]:
    """Writes clips; returns them with the captions that the file has for them now."""
    rows = [row(clip.captions, *relative_paths(clip, path.parent)) for clip in clips]
    captions = [captions_of(written["caption"]) for written in write_edited(path, rows)]
    return [replace(clip, captions=own) for clip, own in zip(clips, captions, strict=True)]
