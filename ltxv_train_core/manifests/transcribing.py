"""Fills the column of what is said, by a Whisper model, in a file that people can edit."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..config import TranscribeSettings
from ..errors import DataError
from ..events import ClipSkipped, NeverStop, Reporter, StopSignal, ignore, one_by_one
from ..media.formats import is_image, is_sound
from ..media.sound import has_sound, probe_sound, read_sound, read_sound_file
from ..media.video import probe
from ..models.device import free_memory
from ..models.transcriber import RATE, Transcriber, require_package
from ..team import ALONE, Team
from .caption_journal import CaptionJournal, journals, with_speech
from .clip_files import require_nothing_lost, row_of
from .editing import report_captions_aside, require_edited, write_edited
from .manifest import Clip, Columns, read_manifest

WRITE_SECONDS = 30.0
"""From one write of the whole file to the next."""

_SPEECH = "speech"


@dataclass(frozen=True)
class TranscriptSummary:
    """Counts of texts.

    Attributes:
        written: new ones.
        reused: that existed.
        silent: clips in which nothing is said, or that have no sound.
        skipped: (name, reason) of clips that can't be read.
    """

    metadata: Path
    written: int
    reused: int
    silent: int
    skipped: tuple[tuple[str, str], ...]

    @property
    def text(self) -> str:
        return (
            f"{self.written} texts written, {self.reused} reused, {self.silent} clips in which nothing is said, "
            f"{len(self.skipped)} skipped"
        )


def transcribe(
    settings: TranscribeSettings,
    report: Reporter = ignore,
    stop: StopSignal | None = None,
    team: Team = ALONE,
) -> TranscriptSummary:
    """Writes down what is said in clips that have no text of it yet, in the source or in the file that is written.

    Each text is on the disk at once, in a journal. The file is written every half minute and at the end, with what
    people have edited in it meanwhile. A clip that can't be read is reported and has no text. The model is not
    loaded if no text is missing.

    Args:
        team: processes that share the clips; the first one writes the file. The summary counts what this one has
            heard.

    Raises:
        DataError: the source or the file to write can't be read, or that file is somebody else's.
        NotAllowedError: the source may not be read, or the file may not be written.
        ModelError: faster-whisper is missing, or there is no such model.
        Cancelled: stopped; the file has the texts up to then.
    """
    require_package()
    path, skipped = settings.metadata, list[tuple[str, str]]()

    def skip(name: str, reason: str) -> None:
        skipped.append((name, reason))
        report(ClipSkipped(name, reason))

    clips: list[Clip] = []

    def write() -> None:
        nonlocal clips
        clips = _write(path, with_speech(clips, journals(path, _SPEECH)))

    def clear_journals() -> None:
        for each in journals(path, _SPEECH):
            each.clear()

    if team.rank == 0:
        report_captions_aside(path, report)
        clips = _clips(settings, skip, report)
        write()
        clear_journals()
    unusable = len(skipped)
    wanted: list[Clip] = team.agree([clip for clip in clips if not clip.speech])
    own = wanted[team.rank :: team.count]
    journal = CaptionJournal(path, team.rank, _SPEECH)
    new = 0
    written_at = time.monotonic()
    sounds = [clip for clip in own if not is_image(clip.media)]
    try:
        for clip, text in _texts(sounds, settings, skip, report, stop or NeverStop()):
            if text:
                journal.add(clip.audio or clip.media, text)
                new += 1
            if team.rank == 0 and time.monotonic() - written_at > WRITE_SECONDS:
                write()
                written_at = time.monotonic()
    finally:
        if team.rank == 0:
            write()
            journal.clear()
    team.agree(None)  # until every process has heard its share
    if team.rank == 0:
        write()
        clear_journals()
    silent = len(own) - new - (len(skipped) - unusable)
    return TranscriptSummary(path, new, max(0, len(clips) - len(wanted)), silent, tuple(skipped))


def _texts(
    clips: list[Clip],
    settings: TranscribeSettings,
    skip: Callable[[str, str], None],
    report: Reporter,
    stop: StopSignal,
) -> Iterator[tuple[Clip, str]]:
    if not clips:
        return
    transcriber = Transcriber.load(
        settings.model, settings.precision, settings.on_cpu, report, stop
    )
    try:
        for clip in one_by_one(clips, len(clips), "transcribe", report, stop):
            try:
                heard = _heard(clip)
            except DataError as error:
                skip(clip.name, str(error))
                continue
            if heard is not None:
                yield clip, transcriber.transcribe(heard, settings.language, stop)
    finally:
        del transcriber
        free_memory()


def _heard(clip: Clip) -> NDArray[np.float32] | None:
    """All of a clip's sound, mono; None where it has none."""
    media = clip.audio or clip.media
    if is_sound(media):
        info = probe_sound(media)
        sound = read_sound_file(media, RATE, info.frames / info.fps)
    else:
        info = probe(media)
        if not has_sound(media):
            return None
        found = read_sound(media, RATE, info.frames / info.fps)
        assert found is not None, "it has sound"
        sound = found
    mono: NDArray[np.float32] = sound.samples.mean(0)
    return mono if mono.any() else None


def _clips(
    settings: TranscribeSettings, skip: Callable[[str, str], None], report: Reporter
) -> list[Clip]:
    """The clips of the source, with the texts that it has."""
    path = settings.metadata
    if path.suffix.lower() != ".json" or path.absolute() == settings.source.absolute():
        raise DataError(f"{path}: expected a .json file that is not the source itself")
    columns = Columns(settings.caption_column, settings.video_column, audio=settings.audio_column)
    manifest = read_manifest(settings.source, columns, require_captions=False)
    for skipped in manifest.skipped:
        skip(skipped.name, skipped.reason)
    manifest.report_notes(report)
    clips = [clip for clip in manifest.clips if not clip.audio_problem]
    for clip in manifest.clips:
        if clip.audio_problem:
            skip(clip.name, clip.audio_problem)
    if not clips:
        raise DataError(f"{settings.source}: holds no media that can be read")
    if settings.source.is_dir() and path.is_file():
        require_nothing_lost(path, read_manifest(path, require_captions=False).clips, clips)
    require_edited(path)
    return clips


def _write(path: Path, clips: list[Clip]) -> list[Clip]:
    """Writes clips; returns them with the texts that the file has for them now."""
    rows = write_edited(path, [row_of(clip, path.parent) for clip in clips])
    return [
        replace(clip, speech=str(row.get("speech", "")))
        for clip, row in zip(clips, rows, strict=True)
    ]
