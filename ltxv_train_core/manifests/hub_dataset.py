"""A data set of the Hugging Face Hub by its name: its media and metadata, once, into a folder of this machine.

Nothing else of the repository is downloaded, and nothing of it is executed.
"""

from pathlib import Path, PurePosixPath

from ..config import PreprocessSettings
from ..errors import DataError, shown
from ..events import Notice, Reporter, StopSignal, ignore
from ..media.formats import is_media, is_sound
from ..models.sources.allowed import REPOSITORY
from ..models.sources.hub_download import dataset_files, download_dataset_files
from ..permissions import Ledger, NotAllowedError, policy
from ..storage.atomic import write_json
from ..storage.paths import as_path
from ..storage.reading import read_json
from .manifest import DEFAULT_CAPTION_COLUMN, DEFAULT_MEDIA_COLUMN
from .records import METADATA_SUFFIXES, read_records

MEDIA_COLUMNS = (DEFAULT_MEDIA_COLUMN, "file_name", "video", "video_path", "path", "audio")
CAPTION_COLUMNS = (DEFAULT_CAPTION_COLUMN, "text", "prompt", "description")
"""In the order in which they are looked for: ours, then those of the Hub's video folders and of other trainers."""

_COMPLETE = ".hub_dataset.json"
"""Written when all files are there: what came from where."""


def is_hub_name(text: str, folder: Path) -> bool:
    """Whether a source is written as "owner/name" and is no path.

    Args:
        folder: that relative paths are looked for in. Where it has a folder "owner", a path is meant.
    """
    name = text.strip()
    if not REPOSITORY.fullmatch(name) or name.startswith(".") or name.endswith(METADATA_SUFFIXES):
        return False
    path = folder / as_path(name)
    return not path.exists() and not path.parent.exists()


def folder_name(repository: str) -> str:
    """Of the folder that a repository's files lie in."""
    return repository.strip().replace("/", "--")


def with_hub_source(
    settings: PreprocessSettings,
    repository: str,
    folder: Path,
    report: Reporter = ignore,
    stop: StopSignal | None = None,
) -> PreprocessSettings:
    """Settings whose source is a data set of the Hub, as it lies in a folder; it is downloaded where it isn't.

    Where the settings have the usual names of columns, the metadata may have those of the Hub.

    Raises:
        NotAllowedError: nothing may be downloaded from the repository, or the folder may not be written.
        ModelError: the Hub can't be reached, or refuses.
        DataError: the repository holds no media, or the folder holds files of somebody else.
        Cancelled: when it was stopped; what came is kept.
    """
    names = _downloaded(repository, folder, report, stop)
    found = _metadata(folder, names, settings)
    if found is None:
        return settings.model_copy(update={"source": folder})
    metadata, media, caption = found
    report(Notice(f"{repository}: {metadata}, with the columns {media} and {caption}"))
    columns = {"video_column": media, "caption_column": caption}
    return settings.model_copy(update={"source": folder / metadata, **columns})


def _downloaded(
    repository: str, folder: Path, report: Reporter, stop: StopSignal | None
) -> list[str]:
    """The names of the files, which are all there now."""
    if known := _complete(repository, folder):
        return known
    try:
        policy().require_download(repository)
    except NotAllowedError as error:
        line = f"{shown(repository)}: no such file or folder, so it names a data set of the Hub. {error}"
        raise NotAllowedError(line, error.ask) from error
    sizes = {name: size for name, size in dataset_files(repository).items() if _is_wanted(name)}
    if not any(is_media(Path(name)) or is_sound(Path(name)) for name in sizes):
        raise DataError(
            f"{repository}: its repository holds no videos, images or sounds as files; archives and parquet "
            "files are not read. Download it, and give a folder"
        )
    ledger = Ledger(folder)
    ledger.claim()
    ledger.add(sizes)
    download_dataset_files(repository, sizes, folder, report, stop)
    write_json(folder / _COMPLETE, {"repository": repository, "files": sizes})
    return list(sizes)


def _complete(repository: str, folder: Path) -> list[str]:
    """The files of a repository, where an earlier download has all of them there."""
    try:
        policy().require_read(folder)
        value = read_json(folder / _COMPLETE)
        sizes = dict(value["files"])
        is_there = value["repository"] == repository and all(
            _is_wanted(name) and (folder / name).stat().st_size == size
            for name, size in sizes.items()
        )
    except (OSError, ValueError, KeyError, TypeError, NotAllowedError):
        return []
    return list(sizes) if is_there else []


def _is_wanted(name: str) -> bool:
    """Media, captions and metadata, under names that stay in the folder."""
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or set(name) & set("\\:\0"):
        return False
    if any(part.startswith(".") for part in path.parts):
        return False
    text = path.suffix.lower() in (*METADATA_SUFFIXES, ".txt")
    return text or is_media(Path(name)) or is_sound(Path(name))


def _metadata(
    folder: Path, names: list[str], settings: PreprocessSettings
) -> tuple[str, str, str] | None:
    """The file that lists the clips with its columns of media and captions; None: captions lie beside them."""
    own_media, own_caption = settings.video_column, settings.caption_column
    media = MEDIA_COLUMNS if own_media == DEFAULT_MEDIA_COLUMN else (own_media,)
    captions = CAPTION_COLUMNS if own_caption == DEFAULT_CAPTION_COLUMN else (own_caption,)
    files = [name for name in names if name.lower().endswith(METADATA_SUFFIXES)]
    for name in sorted(files, key=lambda name: (name.count("/"), "meta" not in name.lower(), name)):
        try:
            records, _ = read_records(folder / name)
        except DataError:
            continue
        keys = {key for _, record in records[:100] if isinstance(record, dict) for key in record}
        found = [next((c for c in known if c in keys), None) for known in (media, captions)]
        if found[0] and found[1]:
            return name, found[0], found[1]
    return None
