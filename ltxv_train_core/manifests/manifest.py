"""What a data set consists of: media with captions, from a metadata file or a folder."""

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..config import PreprocessSettings
from ..datasets.index import SHEET_NAME, VERIFICATION_NAME, folder_of
from ..errors import DataError, cut, shown
from ..events import Notice, PermissionAsked, Reporter
from ..families.names import LATENTS, VIDEO
from ..media.formats import FORMATS, SOUND_SUFFIXES, is_media, is_sound, listed
from ..permissions import Ask, NotAllowedError, no_such_path, policy
from ..storage.paths import as_path, files_below
from ..storage.reading import read_bytes
from .captions import split_captions
from .records import SHOWN_COLUMN, read_records
from .similar_names import AlikeNames
from .text_encodings import UTF8, decoded
from .time_ranges import TimeRanges, time_ranges

DEFAULT_CAPTION_COLUMN = "caption"
DEFAULT_MEDIA_COLUMN = "media_path"
DEFAULT_REFERENCE_COLUMN = "reference_path"
DEFAULT_MASK_COLUMN = "mask_path"
DEFAULT_AUDIO_COLUMN = "audio"
DEFAULT_SPEECH_COLUMN = "speech"
DEFAULT_REFERENCE_AUDIO_COLUMN = "reference_audio"
DEFAULT_AUDIO_MASK_COLUMN = "audio_mask"
# File systems take 255; the suffixes of our files follow.
LONGEST_NAME_BYTES = 200
_OTHER_SEPARATORS = frozenset("|")
"""Which metadata files of other programs have, and that a first line `sep=` allows."""
# A caption of this size is some other file with the suffix .txt.
LARGEST_CAPTION_BYTES = 2**20


@dataclass(frozen=True)
class Columns:
    """Names of the metadata columns (or JSON keys)."""

    caption: str = DEFAULT_CAPTION_COLUMN
    media: str = DEFAULT_MEDIA_COLUMN
    reference: str = DEFAULT_REFERENCE_COLUMN
    mask: str = DEFAULT_MASK_COLUMN
    audio: str = DEFAULT_AUDIO_COLUMN
    speech: str = DEFAULT_SPEECH_COLUMN
    reference_audio: str = DEFAULT_REFERENCE_AUDIO_COLUMN
    audio_mask: str = DEFAULT_AUDIO_MASK_COLUMN

    @classmethod
    def of(cls, settings: PreprocessSettings) -> "Columns":
        """The columns that settings of preprocessing name."""
        return cls(
            settings.caption_column,
            settings.video_column,
            settings.reference_column,
            settings.mask_column,
            settings.audio_column,
            settings.speech_column,
            settings.reference_audio_column,
            settings.audio_mask_column,
        )


@dataclass(frozen=True)
class Clip:
    """One training example.

    `name` is its media path relative to the data set, with forward slashes: unique in the
    manifest, and safe to make output files from. Of its `captions`, one or more, training takes
    one at a time. `media` is a video, an image, or a sound alone. `mask` is white where the clip is to be
    generated, black where it is given. `audio` is the file that its sound is taken from in place of its own;
    what is wrong with it counts where sound is trained. `speech` is what is said in it. `reference_audio` is what its
    sound follows; `audio_mask` are the seconds of its sound, from and to, that are to be generated.
    """

    name: str
    media: Path
    captions: tuple[str, ...] = ()
    reference: Path | None = None
    mask: Path | None = None
    audio: Path | None = None
    audio_problem: str = ""
    speech: str = ""
    reference_audio: Path | None = None
    audio_mask: TimeRanges = ()


@dataclass(frozen=True)
class Skipped:
    """An example that can't be used, and why; `ask` is what would have to be allowed for it."""

    name: str
    reason: str
    ask: Ask | None = None


@dataclass(frozen=True)
class Manifest:
    """Attributes:
    notes: what was taken in another way than it is written, one line each.
    """

    clips: tuple[Clip, ...]
    skipped: tuple[Skipped, ...]
    notes: tuple[str, ...] = ()

    def report_notes(self, report: Reporter) -> None:
        """Reports the notes, and the permissions that skipped clips need."""
        for line in self.notes:
            report(Notice(line))
        for ask in dict.fromkeys(skip.ask for skip in self.skipped if skip.ask):
            report(PermissionAsked(ask.kind, ask.value))


def read_manifest(
    source: Path,
    columns: Columns | None = None,
    default_caption: str = "",
    require_captions: bool = True,
) -> Manifest:
    """Reads a csv, json or jsonl file, or a folder of media with a .txt of the same name each.

    Paths in a metadata file are relative to it. A row that has the column of sounds alone is a sound without a video;
    in a folder, files of sounds are clips where it holds no videos and no images. Several captions of a clip are a list (json,
    jsonl), or stand in one text with a line `---` between two of them. References and masks are
    read when the metadata has their column. Media without a caption get the default one, also
    where the metadata has no column "caption". An example that lacks something else is skipped
    with its reason, alone.

    Args:
        require_captions: an example without any is skipped; otherwise it has none.

    Raises:
        DataError: the source as a whole can't be read.
        NotAllowedError: it may not be read, or none of what it names.
    """
    source = _absolute(source)
    policy().require_read(source)
    if source.is_dir():
        rows, notes = _folder_rows(source)
        return _collect(source, rows, default_caption, require_captions, notes)
    if not source.is_file():
        raise DataError(no_such_path(source, "file or folder"))
    columns = columns or Columns()
    has_default = columns.caption == DEFAULT_CAPTION_COLUMN and default_caption.strip()
    rows, notes = _metadata_rows(source, columns, require_captions and not has_default)
    return _collect(source.parent, rows, default_caption, require_captions, notes)


@dataclass(frozen=True)
class _Row:
    """One line of the source, as written. `problem` is set where it can't be read, `refused` where it
    may not be."""

    label: str
    media: str = ""
    captions: tuple[str, ...] = ()
    reference: str = ""
    mask: str = ""
    audio: str = ""
    speech: str = ""
    reference_audio: str = ""
    audio_mask: str = ""
    problem: str = ""
    refused: NotAllowedError | None = None


def _collect(
    root: Path,
    rows: list[_Row],
    default_caption: str,
    require_captions: bool,
    notes: list[str],
) -> Manifest:
    named = (
        text
        for row in rows
        for text in (row.media, row.reference, row.mask, row.audio, row.reference_audio)
        if text
    )
    names = AlikeNames(_named_path(root, text.replace("\\", "/")) for text in named)
    with_references = any(row.reference for row in rows)
    with_masks = any(row.mask for row in rows)
    clips: list[Clip] = []
    skipped: list[Skipped] = []
    taken: dict[str, int] = {}
    refused: NotAllowedError | None = None
    for row in rows:
        try:
            if row.refused:
                raise row.refused
            _require_text(row)
            media = _existing_file(names, root, row, row.media, "media path")
            captions = row.captions or split_captions(default_caption)
            if not captions and require_captions:
                raise DataError(row.problem or "the caption is empty")
            reference = (
                _existing_file(names, root, row, row.reference, "reference path")
                if with_references
                else None
            )
            mask = _existing_file(names, root, row, row.mask, "mask path") if with_masks else None
            sound = _sound(names, root, row)
        except (DataError, NotAllowedError) as error:
            ask = None
            if isinstance(error, NotAllowedError):
                refused, ask = refused or error, error.ask
            name = cut(_printable(row.media or row.label), 200)
            skipped.append(Skipped(name, str(error), ask))
            continue
        name = _unique(_output_name(root, media), taken)
        clips.append(Clip(name, media, captions, reference, mask, speech=row.speech, **sound))
    if refused and not clips:
        raise refused
    return Manifest(tuple(clips), tuple(skipped), (*notes, *names.notes()))


def _sound(names: AlikeNames, root: Path, row: _Row) -> dict[str, Any]:
    """What a row says of its clip's sound, or why it can't be used."""

    def file(text: str, what: str) -> Path | None:
        return _existing_file(names, root, row, text, what) if text else None

    try:
        return {
            "audio": file(row.audio, "audio path"),
            "reference_audio": file(row.reference_audio, "reference audio path"),
            "audio_mask": time_ranges(row.audio_mask),
        }
    except DataError as error:
        return {"audio_problem": str(error)}


def _require_text(row: _Row) -> None:
    """Refuses what no file can hold as UTF-8: file names of old archives, halves of emojis."""
    sound = (row.audio, row.speech, row.reference_audio, row.audio_mask)
    for text in (row.media, row.reference, row.mask, *sound, *row.captions):
        if _printable(text) != text:
            raise DataError(f"'{_printable(text)[:80]}' can't be written as UTF-8: change it")


def _printable(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def _existing_file(names: AlikeNames, root: Path, row: _Row, text: str, what: str) -> Path:
    """Finds a file named in a row; on any system either separator may have been written, quotes
    around it, ~ for the home, and the name in another case or Unicode form."""
    if not text:
        raise DataError(row.problem or f"the {what} is empty")
    for spelling in dict.fromkeys((text, text.replace("\\", "/"))):
        path = _named_path(root, spelling)
        policy().require_read(path)
        try:
            if path.is_file():
                return path
        except OSError as error:
            raise DataError(f"the {what} {shown(text)} can't be read ({error.strerror})") from error
    if not path.is_dir() and (alike := names.find(path)):
        policy().require_read(alike)
        if alike.is_file():
            return alike
    raise DataError(f"the {what} {shown(text)} is no file (looked for {cut(str(path), 300)})")


def _named_path(root: Path, text: str) -> Path:
    return _absolute(root / as_path(text))


def _absolute(path: Path) -> Path:
    """Without `..`, and with links kept: a linked file counts as lying where its link is."""
    return Path(os.path.normpath(Path(path).absolute()))


def _output_name(root: Path, media: Path) -> str:
    """The path below the root; files elsewhere get a folder that stands for theirs."""
    name = shortened(media.name)
    if media.is_relative_to(root):
        return media.relative_to(root).with_name(name).as_posix()
    return f"elsewhere-{_digest(media.parent.as_posix())}/{name}"


def shortened(name: str) -> str:
    """A file's name with room for what is put behind it: file systems take 255 bytes."""
    start = name.encode("utf-8")[: LONGEST_NAME_BYTES - 13].decode("utf-8", "ignore")
    return f"{start}~{_digest(name)}" if len(name.encode("utf-8")) > LONGEST_NAME_BYTES else name


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8")).hexdigest()[:12]


def _unique(name: str, taken: dict[str, int]) -> str:
    """Numbers a name that was given before, also where only upper and lower case differ.

    `taken` counts how often each name was wanted.
    """
    unique, known = name, name.casefold()
    while unique.casefold() in taken:
        taken[known] += 1
        unique = f"{name}~{taken[known]}"
    taken[unique.casefold()] = 1
    return unique


def _folder_rows(folder: Path) -> tuple[list[_Row], list[str]]:
    rows = []
    encodings: dict[str, list[str]] = {}

    def may_enter(place: Path) -> bool:
        if not place.is_symlink():
            return True
        try:
            policy().require_read(place)
        except NotAllowedError as error:
            rows.append(_Row(place.relative_to(folder).as_posix(), refused=error))
            return False
        return True

    found = files_below(folder, may_enter)
    media = [path for path in found if is_media(path) and not _is_of_a_cache(path)]
    media = media or [path for path in found if is_sound(path)]
    names = AlikeNames(path.with_suffix(".txt") for path in media)
    for path in media:
        label = path.relative_to(folder).as_posix()
        text = path.with_suffix(".txt")
        try:
            text = text if text.is_file() else names.find(text) or text
            if not text.is_file():
                rows.append(_Row(label, label, problem=f"no caption: {text.name} is missing"))
                continue
            policy().require_read(text)  # it may be a link
            caption, encoding = decoded(read_bytes(text, LARGEST_CAPTION_BYTES))
            rows.append(_Row(label, label, split_captions(caption)))
            encodings.setdefault(encoding, []).append(text.name)
        except DataError as error:
            rows.append(_Row(label, problem=str(error)))
        except NotAllowedError as error:
            rows.append(_Row(label, refused=error))
        except OSError as error:
            rows.append(_Row(label, problem=f"{text.name} can't be read ({error.strerror})"))
        except UnicodeDecodeError:
            rows.append(_Row(label, problem=f"{text.name} is not UTF-8 text; save it as UTF-8"))
    if not rows:
        known = listed(FORMATS | dict.fromkeys(SOUND_SUFFIXES))
        raise DataError(f"{folder}: holds no media; known are {known}")
    read_as = [_read_as(files, name) for name, files in encodings.items() if name != UTF8]
    return rows, [*read_as, *names.notes()]


def _read_as(files: list[str], encoding: str) -> str:
    more = f" and {len(files) - 1} more" if files[1:] else ""
    return (
        f"{cut(files[0])}{more}: read as {encoding}, as it is no UTF-8; save it as UTF-8 where letters "
        "come out wrong"
    )


def _is_of_a_cache(path: Path) -> bool:
    """Whether a picture is one that preprocessing draws, where its output lies among the media."""
    return (
        path.name in (SHEET_NAME, VERIFICATION_NAME)
        and (path.parent / folder_of(VIDEO, LATENTS)).is_dir()
    )


def _metadata_rows(
    source: Path, columns: Columns, needs_captions: bool
) -> tuple[list[_Row], list[str]]:
    records, encoding = read_records(source)
    _check_columns(source, records, columns, needs_captions)
    rows = []
    for label, record in records:
        if isinstance(record, str):
            rows.append(_Row(label, problem=record))
            continue
        row = _row(label, record, columns)
        if row.media or row.captions or row.reference or row.problem:
            rows.append(row)
    if not rows:
        raise DataError(f"{source}: holds no rows")
    return rows, [] if encoding == UTF8 else [_read_as([source.name], encoding)]


def _row(label: str, record: dict[str, Any], columns: Columns) -> _Row:
    media = record.get(columns.media)
    sound = _written(record.get(columns.audio))
    if media in (None, "") and is_sound(Path(sound)):
        media, sound = sound, ""
    try:
        return _Row(
            label,
            media=_text(media, "media path"),
            captions=captions_of(record.get(columns.caption)),
            reference=_text(record.get(columns.reference), "reference path"),
            mask=_text(record.get(columns.mask), "mask path"),
            audio=sound,
            speech=_written(record.get(columns.speech)),
            reference_audio=_written(record.get(columns.reference_audio)),
            audio_mask=_written(record.get(columns.audio_mask)),
        )
    except DataError as error:
        named = f"{label}: {media.strip()}" if isinstance(media, str) else label
        return _Row(named, problem=str(error))


def _check_columns(
    source: Path, records: list[tuple[str, Any]], columns: Columns, needs_captions: bool
) -> None:
    """Refuses metadata without the columns that were asked for."""
    found = {key for _, record in records if isinstance(record, dict) for key in record if key}
    media = columns.audio if columns.media not in found else columns.media
    media = media if media in found else columns.media
    needed = [columns.caption, media] if needs_captions else [media]
    needed += [
        name
        for name, usual in (
            (columns.reference, DEFAULT_REFERENCE_COLUMN),
            (columns.mask, DEFAULT_MASK_COLUMN),
            (columns.audio, DEFAULT_AUDIO_COLUMN),
            (columns.speech, DEFAULT_SPEECH_COLUMN),
            (columns.reference_audio, DEFAULT_REFERENCE_AUDIO_COLUMN),
            (columns.audio_mask, DEFAULT_AUDIO_MASK_COLUMN),
        )
        if name and name != usual
    ]
    missing = [column for column in needed if column not in found]
    if found and missing:
        raise DataError(
            f"{source}: has no column {' or '.join(map(shown, missing))}; it has "
            + cut(", ".join(sorted(shown(name, SHOWN_COLUMN) for name in found)), 400)
            + _where_to_name(found, missing, columns)
        )


def _where_to_name(found: set[str], missing: list[str], columns: Columns) -> str:
    """What to do where metadata have other columns, or are separated by something else."""
    if len(found) == 1 and (told := set(next(iter(found))) & _OTHER_SEPARATORS):
        return (
            f". It is read as one column: separate columns by commas, semicolons or tabs, or write "
            f"`sep={min(told)}` as the first line"
        )
    options = {
        columns.media: "video_column",
        columns.caption: "caption_column",
        columns.reference: "reference_column",
        columns.mask: "mask_column",
        columns.audio: "audio_column",
        columns.speech: "speech_column",
        columns.reference_audio: "reference_audio_column",
        columns.audio_mask: "audio_mask_column",
    }
    named = " and ".join(options[column] for column in missing)
    return f". Write the names of the columns that you mean into {named}"


def captions_of(value: object) -> tuple[str, ...]:
    """A list of captions, or the text of one or several.

    Raises:
        DataError: it is something else.
    """
    texts = value if isinstance(value, list) else [value]
    found = [_text(text, "caption") for text in texts]
    return tuple(caption for text in found for caption in split_captions(text))


def _written(value: Any) -> str:
    """A text; what is none belongs to another program."""
    return value.strip() if isinstance(value, str) else ""


def _text(value: Any, what: str) -> str:
    if not isinstance(value, str | None):
        raise DataError(f"the {what} is no text ({shown(value)}): write it as one")
    return (value or "").strip()
