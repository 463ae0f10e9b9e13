"""Reference videos of a data set for an IC-LoRA: written from its clips, and joined to them.

Files lie beside the metadata in `.references/<kind>/`, and metadata with the column `reference_path`
is written as `<metadata>-<kind>.json`. The clips themselves are not touched.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import numpy as np

from ..config import ReferenceFilter, ReferenceSettings
from ..errors import DataError, shown
from ..events import (
    ClipSkipped,
    Reporter,
    StopSignal,
    ignore,
    one_by_one,
)
from ..media.formats import is_sound
from ..media.sound import Sound
from ..media.video import iterate_frames, probe
from ..media.write import write_exact_video
from ..permissions import policy, require_own
from ..storage.atomic import sha256_file, sha256_json
from .clip_files import clips_of, has_our_form, row_of, write_footage, write_rows, write_sound
from .manifest import Clip, Columns, read_manifest
from .reference_filters import GREY_KINDS, apply_filter, filter_identity

REFERENCES_FOLDER = ".references"

Given = TypeVar("Given")


def make_references(
    settings: ReferenceSettings, report: Reporter = ignore, stop: StopSignal | None = None
) -> Path:
    """Writes a reference of every clip with a built-in filter; existing ones are reused.

    One frame is in memory at a time. A clip that can't be read is reported and skipped.

    Returns:
        The metadata file.

    Raises:
        DataError: the source can't be read, or no clip of it.
        Cancelled: stopped; references that are finished stay.
    """
    source, effect = settings.source, settings.effect
    path = settings.output or _metadata(source, effect.kind)
    _require_place(path, source)
    require_own(path, _names_references)
    columns = Columns(settings.caption_column, settings.video_column, "", settings.mask_column)
    manifest = read_manifest(source, columns)
    for skipped in manifest.skipped:
        report(ClipSkipped(skipped.name, skipped.reason))
    manifest.report_notes(report)
    folder = _folder(source, effect.kind)
    made: dict[str, Clip] = {}
    phase, clips = f"make {effect.kind} references", clips_of(manifest, report)
    for clip in one_by_one(clips, len(clips), phase, report, stop):
        try:
            made[clip.name] = replace(clip, reference=_make(clip, effect, folder))
        except DataError as error:
            report(ClipSkipped(clip.name, str(error)))
    if not made:
        raise DataError(f"{source}: none of its clips can be read")
    return _write_metadata(made.values(), path)


def add_references(
    source: Path,
    names: Sequence[str],
    references: Iterable[np.ndarray] | None,
    kind: str,
    columns: Columns | None = None,
    report: Reporter = ignore,
    stop: StopSignal | None = None,
    sounds: Iterable[Sound] | None = None,
) -> Path:
    """Joins frames or sounds from elsewhere to the clips of a data set, as their references.

    Args:
        names: which clip each belongs to.
        references: uint8 RGB [F, H, W, 3] each, taken one at a time; None: there are none of frames.
        kind: name of this kind of reference, part of file names.
        sounds: likewise those of the clips' sounds.

    Returns:
        The metadata file; it has only the named clips.

    Raises:
        DataError: a name is unknown, or there are more or fewer names than references.
        Cancelled: when it was stopped.
    """
    manifest = read_manifest(source, columns)
    clips = {clip.name: clip for clip in clips_of(manifest, report)}
    unknown = [name for name in names if name not in clips]
    if unknown:
        raise DataError(
            f"{source}: has no clip {shown(unknown[0])}; it has {', '.join(list(clips)[:5])}"
        )
    if not kind or kind != Path(kind).name or kind.startswith("."):
        raise DataError(f"kind {shown(kind)}: expected a word that can be part of a file name")
    require_own(_metadata(source, kind), _names_references)
    folder = _folder(source, kind)
    made = {name: clips[name] for name in names}
    if references is not None:
        for name, frames in _one_each(names, references, report, stop):
            if is_sound(clips[name].media):
                raise DataError(f"{name}: is a sound alone, which takes no reference video")
            fps = probe(clips[name].media).fps
            made[name] = replace(made[name], reference=write_footage(folder, frames, fps))
    if sounds is not None:
        for name, sound in _one_each(names, sounds, report, stop):
            made[name] = replace(made[name], reference_audio=write_sound(folder, sound))
    return _write_metadata(made.values(), _metadata(source, kind))


def _one_each(
    names: Sequence[str], given: Iterable[Given], report: Reporter, stop: StopSignal | None
) -> Iterator[tuple[str, Given]]:
    """Each name with what is given for it. Raises `DataError` where there is more or less than names."""
    remaining = iter(given)
    for number, name in enumerate(one_by_one(names, len(names), "write references", report, stop)):
        one = next(remaining, None)
        if one is None:
            raise DataError(f"{number} references for {len(names)} names: give one for each clip")
        yield name, one
    if next(remaining, None) is not None:
        raise DataError(f"more references than the {len(names)} names: give one for each clip")


def _make(clip: Clip, effect: ReferenceFilter, folder: Path) -> Path:
    """Writes one reference, named by a digest of everything that it depends on."""
    if is_sound(clip.media):
        raise DataError("it is a sound alone, and a reference is made of a video's frames")
    info = probe(clip.media)
    name = sha256_json([sha256_file(clip.media), filter_identity(effect), *info.reading])[:20]
    path = folder / f"{name}.{'png' if info.is_image else 'mp4'}"
    if path.is_file():
        return path
    frames = apply_filter(effect, iterate_frames(clip.media))
    if info.is_image:
        return write_footage(folder, np.stack(list(frames)), info.fps)
    write_exact_video(path, frames, info.fps, grey=effect.kind in GREY_KINDS)
    return path


def _write_metadata(clips: Iterable[Clip], path: Path) -> Path:
    rows = [row_of(clip, path.parent) for clip in clips]
    return write_rows(path, rows, _names_references)


def _names_references(text: str) -> bool:
    """Whether metadata is what an earlier version has written here."""
    named = (
        f'"{column}": "{REFERENCES_FOLDER}/' for column in ("reference_path", "reference_audio")
    )
    return has_our_form(text) and any(name in text for name in named)


def _folder(source: Path, kind: str) -> Path:
    """Raises `NotAllowedError` where it may not be written."""
    folder = _root(source) / REFERENCES_FOLDER / kind
    policy().require_write(folder)
    return folder


def _root(source: Path) -> Path:
    return source if source.is_dir() else source.parent


def _metadata(source: Path, kind: str) -> Path:
    stem = "dataset" if source.is_dir() else source.stem
    return _root(source) / f"{stem}-{kind}.json"


def _require_place(path: Path, source: Path) -> None:
    """Metadata that lies elsewhere would name other clips in the cache; its source stays."""
    if path.suffix.lower() != ".json" or path.absolute().parent != _root(source).absolute():
        raise DataError(f"{path}: expected a .json file in the folder {_root(source)}")
    if path.absolute() == source.absolute():
        raise DataError(f"{path}: is the source itself; give another name")
