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
from .clip_files import require_nothing_lost, row_of
from .editing import report_captions_aside, require_edited, write_edited
from .manifest import Clip, Columns, read_manifest

WRITE_SECONDS = 30.0
"""From one write of the file to the next: so much work a kill loses."""


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
    settings: TranscribeSettings, report: Reporter = ignore, stop: StopSignal | None = None
) -> TranscriptSummary:
    """Writes down what is said in clips that have no text of it yet, in the source or in the file that is written.

    The file is written every half minute and at the end, with what people have edited in it meanwhile. A clip that
    can't be read is reported and has no text. The model is not loaded if no text is missing.

    Raises:
        DataError: the source or the file to write can't be read, or that file is somebody else's.
        NotAllowedError: the source may not be read, or the file may not be written.
        ModelError: faster-whisper is missing, or there is no such model.
        Cancelled: stopped; the file has the texts up to then.
    """
    require_package()
    path, skipped = settings.metadata, list[tuple[str, str]]()
    report_captions_aside(path, report)

    def skip(name: str, reason: str) -> None:
        skipped.append((name, reason))
        report(ClipSkipped(name, reason))

    clips = _write(path, _clips(settings, skip, report))
    unusable = len(skipped)
    wanted = [number for number, clip in enumerate(clips) if not clip.speech]
    texts: dict[int, str] = {}

    def write() -> None:
        _write(path, [replace(c, speech=texts.get(n, c.speech)) for n, c in enumerate(clips)])

    sounds = ((number, clips[number]) for number in wanted if not is_image(clips[number].media))
    written_at = time.monotonic()
    try:
        for number, text in _texts(list(sounds), settings, skip, report, stop or NeverStop()):
            texts[number] = text
            if time.monotonic() - written_at > WRITE_SECONDS:
                write()
                written_at = time.monotonic()
    finally:
        write()
    new = sum(map(bool, texts.values()))
    silent = len(wanted) - new - (len(skipped) - unusable)
    return TranscriptSummary(path, new, len(clips) - len(wanted), silent, tuple(skipped))


def _texts(
    clips: list[tuple[int, Clip]],
    settings: TranscribeSettings,
    skip: Callable[[str, str], None],
    report: Reporter,
    stop: StopSignal,
) -> Iterator[tuple[int, str]]:
    if not clips:
        return
    transcriber = Transcriber.load(
        settings.model, settings.precision, settings.on_cpu, report, stop
    )
    try:
        for number, clip in one_by_one(clips, len(clips), "transcribe", report, stop):
            try:
                heard = _heard(clip)
            except DataError as error:
                skip(clip.name, str(error))
                continue
            if heard is not None:
                yield number, transcriber.transcribe(heard, settings.language, stop)
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
