"""Captions for media that have none, by a vision-language model, in a file that people can edit."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ..config import CaptionSettings
from ..errors import DataError
from ..events import (
    ClipSkipped,
    NeverStop,
    Reporter,
    StopSignal,
    ignore,
    one_by_one,
)
from ..media.formats import is_sound
from ..media.video import iterate_frames, probe
from ..models.captioner import VideoCaptioner
from ..models.device import free_memory
from ..team import ALONE, Team
from .caption_journal import CaptionJournal, journals, with_captions
from .captions import without_opening
from .clip_files import require_nothing_lost, row_of
from .editing import report_captions_aside, require_edited, write_edited
from .manifest import Clip, Columns, captions_of, read_manifest

WRITE_SECONDS = 30.0
"""From one write of the whole file to the next."""


@dataclass(frozen=True)
class CaptionSummary:
    """Counts of captions: `written` are new, `reused` existed. `skipped` are (name, reason) of clips."""

    metadata: Path
    written: int
    reused: int
    skipped: tuple[tuple[str, str], ...]


def write_captions(
    settings: CaptionSettings,
    report: Reporter = ignore,
    stop: StopSignal | None = None,
    team: Team = ALONE,
) -> CaptionSummary:
    """Captions what has no caption yet, in the source or in the file that is written.

    Each caption is on the disk at once, in a journal. The file is written from time to time and at the
    end, with what people have edited in it meanwhile. It names all clips from the first write on. A clip
    that can't be read is reported and has no caption. The model is not loaded if no caption is missing.

    Args:
        team: processes that share the clips; the first one writes the file. The summary counts what this
            one has captioned.

    Raises:
        DataError: the source or the file to write can't be read, or that file is somebody else's.
        NotAllowedError: the source may not be read, or the file may not be written.
        ModelError: there is no such model.
        Cancelled: stopped; the file has the captions up to then.
    """
    path, skipped = settings.metadata, _Skipped(report)
    metadata = None
    if team.rank == 0:
        metadata = _Metadata(path, _clips(settings, skipped, report))
        report_captions_aside(path, report)
    missing: list[str] = team.agree(metadata.missing() if metadata else None)
    own = [Path(media) for media in missing[team.rank :: team.count]]
    journal = CaptionJournal(path, team.rank)
    written = 0
    try:
        for media, caption in _captions(own, settings, skipped, report, stop or NeverStop()):
            journal.add(media, caption)
            written += 1
            if metadata:
                metadata.write_if_due()
    finally:
        if metadata:
            metadata.write()
            journal.clear()
    team.agree(None)  # until every process has captioned its share
    reused = 0
    if metadata:
        metadata.write()
        metadata.clear_journals()
        reused = len(metadata.clips) - len(missing)
    return CaptionSummary(path, written, reused, tuple(skipped.found))


class _Skipped:
    """Reports and remembers the clips without a caption."""

    def __init__(self, report: Reporter):
        self.report, self.found = report, list[tuple[str, str]]()

    def __call__(self, name: str, reason: str) -> None:
        self.found.append((name, reason))
        self.report(ClipSkipped(name, reason))


class _Metadata:
    """The file that is written, with what journals and people have added to it."""

    def __init__(self, path: Path, clips: list[Clip]):
        self.path, self.clips = path, clips
        self.write()
        self.clear_journals()

    def missing(self) -> list[str]:
        """The media of the clips without a caption."""
        return [str(clip.media) for clip in self.clips if not clip.captions]

    def write_if_due(self) -> None:
        """Writes at most every half minute, and takes at most a twentieth of the time for it."""
        if time.monotonic() - self._written >= max(WRITE_SECONDS, 20 * self._duration):
            self.write()

    def write(self) -> None:
        """Writes the file with the captions of all journals; those of people go before them."""
        started = time.monotonic()
        self.clips = _write(self.path, with_captions(self.clips, journals(self.path)))
        self._written = time.monotonic()
        self._duration = self._written - started

    def clear_journals(self) -> None:
        """Removes what the file has; no process may be adding to one."""
        for journal in journals(self.path):
            journal.clear()


def _captions(
    media: list[Path],
    settings: CaptionSettings,
    skip: Callable[[str, str], None],
    report: Reporter,
    stop: StopSignal,
) -> Iterator[tuple[Path, str]]:
    """Captions files one by one, and reports those that can't be read."""
    if not media:
        return
    captioner = VideoCaptioner.load(settings.model, settings.load_in_8bit, report, stop)
    try:
        for path in one_by_one(media, len(media), "write captions", report, stop):
            try:
                caption = _caption(captioner, path, settings)
            except DataError as error:
                skip(path.name, str(error))
                continue
            yield path, caption
    finally:
        del captioner
        free_memory()


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
    found = []
    for clip in manifest.clips:
        if clip.audio_problem:
            skip(clip.name, clip.audio_problem)
        else:
            found.append(clip)
    if not found:
        raise DataError(f"{settings.source}: holds no media that can be read")
    if settings.source.is_dir() and path.is_file():
        done = read_manifest(path, require_captions=False).clips
        require_nothing_lost(path, done, found)
    require_edited(path)
    return found


def _caption(captioner: VideoCaptioner, media: Path, settings: CaptionSettings) -> str:
    """
    Raises:
        DataError: the clip can't be read, or the model has no words for it.
    """
    if is_sound(media):
        raise DataError(f"{media}: is a sound alone, and the model sees videos: write its caption")
    frames, fps = sample_frames(media, settings.frames_per_second, settings.max_frames)
    text = captioner.caption(frames, fps, settings.instruction, settings.max_new_tokens)
    caption = " ".join(text.split())
    if not caption:
        raise DataError(f"{media}: the model gave an empty caption")
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
    rows = [row_of(clip, path.parent) for clip in clips]
    captions = [captions_of(written["caption"]) for written in write_edited(path, rows)]
    return [replace(clip, captions=own) for clip, own in zip(clips, captions, strict=True)]
