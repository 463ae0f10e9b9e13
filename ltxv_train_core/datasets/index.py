"""The table of contents of a preprocessed data set.

Several data sets can share a folder. Each has an index of its own, `index-1a2b3c4d5e6f.json`, which
no other one replaces; `index.json` is that of the pass that ended last, and what the folder's path
stands for. Cached files never change: their names hold the key of their content.
"""

import json
import re
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BeforeValidator,
    FailFast,
    Field,
    Strict,
    TypeAdapter,
    ValidationError,
)

from ..config.tools.preprocessing import OUTPUT_FOLDER
from ..errors import DataError, cut, shown
from ..families.names import LATENTS, MASK, REFERENCE, VIDEO
from ..families.registry import EARLIEST, family_named
from ..geometry import VideoSize
from ..storage.atomic import sha256_json, write_text
from ..storage.garbage import without_collections
from ..storage.reading import read_json

INDEX_VERSION = 2
CONDITIONS = "conditions"
EMPTY_CAPTION = "empty_caption"
WINDOW_MARK = "@"
"""Before the number of a further window in a name: `clip.mp4@2`."""
SUFFIX = ".safetensors"
SHEET_NAME = "contact_sheet.png"
VERIFICATION_NAME = "verification.png"
MOST_CLIPS = 250_000
"""That an index may have."""
_LARGEST_INDEX_BYTES = MOST_CLIPS * 1000
_MOST_CONTAINERS = MOST_CLIPS * 10
INDEX_NAME = "index.json"
_INDEX_NAMES = re.compile(r"index(-[0-9a-f]{12})?\.json")
LONGEST_NAME, LONGEST_PATH = 240, 2000  # 15 more while a file is written
MOST_PIXELS_OF_LATENTS = 1_000_000
"""Of a clip: half a gigabyte."""

_FOLDERS = {LATENTS: "latents", REFERENCE: "reference_latents", MASK: "masks"}


def folder_of(stream: str, role: str) -> str:
    """The folder below the root that holds tensors of a stream: latents, audio_latents, masks, ..."""
    folder = _FOLDERS[role]
    return folder if stream == VIDEO else f"{stream}_{folder}"


def is_cached(path: str) -> bool:
    """Whether a path below the root is one of a cached file's, whatever the streams are called."""
    folder = path.partition("/")[0]
    tensors = folder == CONDITIONS or folder.endswith(tuple(_FOLDERS.values()))
    return (tensors and folder != path) or path.startswith(EMPTY_CAPTION)


def _is_plain(text: str) -> bool:
    """Whether a path is of the kind that most are: a closer look takes ten times as long."""
    return (
        0 < len(text) <= LONGEST_NAME
        and text.isascii()
        and text[0] not in "./"
        and ".." not in text
        and "\\" not in text
        and ":" not in text
        and "\0" not in text
    )


def _below(text: str) -> str:
    """Refuses a path that leads out of the folder that it is put behind."""
    if _is_plain(text):
        return text
    path = Path(text)
    if path.anchor or ".." in path.parts or not path.parts or "\0" in text:
        raise ValueError("is no path below the data set's folder")
    lengths = [len(part.encode("utf-8")) for part in path.parts]
    if max(lengths) > 255 or lengths[-1] > LONGEST_NAME or len(text) > LONGEST_PATH:
        raise ValueError("is longer than a path can be")
    return text


@lru_cache(maxsize=1024)
def _size(text: str) -> str:
    VideoSize.parse(text)
    return text


def _small(model: Any) -> Any:
    if isinstance(model, dict) and len(model) > 100:
        raise ValueError("says more of a model than there is")
    return model


PathBelow = Annotated[str, AfterValidator(_below)]


@dataclass(frozen=True, slots=True)
class CachedFile:
    """A file of tensors below the root, and the key of everything that its content depends on."""

    path: PathBelow
    key: str


@dataclass(frozen=True, slots=True)
class Caption:
    """A text and its embedding."""

    text: str
    embedding: CachedFile


StreamFiles = Mapping[str, CachedFile]
"""The files of one stream by role, see `families.names`: its latents, and its reference and mask if any."""


def _of_version_1(item: Any) -> Any:
    """A clip's entry as version 1 wrote it, when there was one stream and a field for each file."""
    if not isinstance(item, dict) or "streams" in item or "latents" not in item:
        return item
    fields = {LATENTS: "latents", REFERENCE: "reference_latents", MASK: "mask"}
    files = {role: item.get(field) for role, field in fields.items()}
    more = item.get("more_captions", ())
    first = {"text": item.get("caption"), "embedding": item.get("conditions")}
    rest = [
        {"text": caption.get("text"), "embedding": caption.get("conditions")}
        if isinstance(caption, dict)
        else caption
        for caption in (more if isinstance(more, list | tuple) else [more])
    ]
    return {
        "name": item.get("name"),
        "size": item.get("size"),
        "fps": item.get("fps"),
        "streams": {VIDEO: {role: file for role, file in files.items() if file is not None}},
        "captions": [first, *rest],
    }


def _with_latents(streams: dict[str, dict[str, CachedFile]]) -> dict[str, dict[str, CachedFile]]:
    if not streams or any(LATENTS not in files for files in streams.values()):
        raise ValueError("has no latents of a stream")
    if any(role not in _FOLDERS for files in streams.values() for role in files):
        raise ValueError(f"has other files than {', '.join(_FOLDERS)}")
    return streams


@dataclass(frozen=True, slots=True)
class Example:
    """One training example: the files of a clip. Training takes one of its captions at a time.

    Attributes:
        size: "WxHxF" in pixels and frames; of a sound alone the frames are its length, and width and height say
            nothing.
        streams: by name, see `families.base.Stream`.
    """

    name: PathBelow
    size: Annotated[str, AfterValidator(_size)]
    fps: Annotated[float, Strict(), Field(gt=0, le=100_000, allow_inf_nan=False)]
    streams: Annotated[dict[str, dict[str, CachedFile]], AfterValidator(_with_latents)]
    captions: Annotated[tuple[Caption, ...], FailFast(), Field(min_length=1)]

    @property
    def caption(self) -> Caption:
        """The first one."""
        return self.captions[0]

    @property
    def files(self) -> tuple[CachedFile, ...]:
        """Everything that is cached of it: latents, embeddings, then references and masks."""
        latents = [files[LATENTS] for files in self.streams.values()]
        others = [
            file
            for files in self.streams.values()
            for role, file in files.items()
            if role != LATENTS
        ]
        return (*latents, *(caption.embedding for caption in self.captions), *others)

    @property
    def keys(self) -> tuple[str | float | None, ...]:
        """What its content depends on. The order of a video's keys names runs since version 1."""
        first, *more = (caption.embedding.key for caption in self.captions)
        video = {role: file.key for role, file in self.streams.get(VIDEO, {}).items()}
        masks = (video[MASK],) if MASK in video else ()
        others = [
            (name, role, file.key)
            for name, files in sorted(self.streams.items())
            for role, file in sorted(files.items())
            if name != VIDEO
        ]
        keys = (self.size, self.fps, video.get(LATENTS), first, video.get(REFERENCE), *masks, *more)
        return (*keys, *(part for other in others for part in other))


@dataclass(frozen=True)
class Index:
    """What a data set holds.

    Attributes:
        model, settings: how the items were made.
        empty_caption: the embedding of no text at all; data sets of older versions have none.
        family: the model family whose latents they are.
    """

    model: Annotated[dict[str, str], BeforeValidator(_small)]
    settings: dict[str, Any]
    items: Annotated[tuple[Annotated[Example, BeforeValidator(_of_version_1)], ...], FailFast()]
    empty_caption: CachedFile | None = None
    family: str = EARLIEST.name

    @property
    def files(self) -> tuple[CachedFile, ...]:
        """Everything that is cached of the data set."""
        own = (self.empty_caption,) if self.empty_caption else ()
        return (*(file for item in self.items for file in item.files), *own)

    @property
    def fingerprint(self) -> str:
        """Names the content: the same whatever the files are called and wherever they lie."""
        return sha256_json([item.keys for item in self.items])


_INDEX = TypeAdapter(Index)


def index_path(root: Path) -> Path:
    """The index of the pass that ended last."""
    return root / INDEX_NAME


def own_index_path(root: Path, data_set: str) -> Path:
    """The index of one data set of a folder.

    Args:
        data_set: hex digest of what names it.
    """
    return root / f"index-{data_set[:12]}.json"


def index_paths(root: Path) -> list[Path]:
    """The indexes in a folder, that of the pass that ended last among them."""
    names = root.iterdir() if root.is_dir() else ()
    return sorted(path for path in names if _INDEX_NAMES.fullmatch(path.name))


def data_folder(path: Path) -> Path:
    """The folder that is read where a data set is given by its folder or its index."""
    return path.parent if _INDEX_NAMES.fullmatch(path.name) else path


def write_index(path: Path, index: Index) -> bool:
    """Writes an index, unless it is there already just so; says whether it wrote."""
    value = {"version": INDEX_VERSION, "fingerprint": index.fingerprint} | asdict(index)
    text = json.dumps(value, indent=2, ensure_ascii=False) + "\n"
    if path.is_file() and path.read_bytes() == text.encode("utf-8"):
        return False
    write_text(path, text)
    return True


def read_index(data: Path) -> Index:
    """Reads the index of a data set.

    Args:
        data: as for `find_index`.

    Raises:
        DataError: there is none, or it can't be read.
    """
    with without_collections():
        return _read_index(find_index(data))


def _read_index(path: Path) -> Index:
    try:
        value = read_json(path, _LARGEST_INDEX_BYTES, _MOST_CONTAINERS)
        if isinstance(value, dict) and value.get("version", INDEX_VERSION) not in (
            1,
            INDEX_VERSION,
        ):
            raise DataError(
                f"{path}: is of version {shown(value['version'])}, this program reads 1 and "
                f"{INDEX_VERSION}; preprocess the data set again"
            )
        index = _INDEX.validate_python(value)
        _require_sizes(index)
    except OSError as error:
        raise DataError(f"{path}: can't be read ({error.strerror or error})") from error
    except ValidationError as error:
        problem = error.errors(include_input=False, include_url=False)[0]
        where = cut(".".join(map(str, problem["loc"])) or "the file")
        raise DataError(
            f"{path}: is no index of a data set ({where}: {cut(problem['msg'], 200)}); preprocess "
            "the data set again"
        ) from error
    except DataError:
        raise
    except ValueError as error:
        raise DataError(
            f"{path}: is no index of a data set ({cut(str(error), 200)}); preprocess the data set again"
        ) from error
    if value.get("fingerprint") != index.fingerprint:
        raise DataError(
            f"{path}: its items are not those that its fingerprint is of: the file was changed. "
            "Preprocess the data set again"
        )
    _require_own_names(path, index)
    return index


def _require_sizes(index: Index) -> None:
    """Raises `ValueError` for sizes that no clip of the family has."""
    grid = family_named(index.family).grid
    for size in {item.size for item in index.items}:
        grid.require(VideoSize.parse(size))
        if grid.latent(VideoSize.parse(size)).tokens > MOST_PIXELS_OF_LATENTS:
            raise ValueError(f"size {size} is larger than a clip can be")


def _require_own_names(path: Path, index: Index) -> None:
    for name, count in Counter(item.name for item in index.items).most_common(1):
        if count > 1:
            raise DataError(
                f"{path}: has {count} clips named {shown(name)}; preprocess the data set again"
            )


def indexes(root: Path) -> list[Index]:
    """The indexes in a folder that can be read."""
    found = []
    for path in index_paths(root):
        with suppress(DataError):
            found.append(read_index(path))
    return found


def find_index(data: Path) -> Path:
    """The index that a path stands for.

    Args:
        data: an index, or the folder that holds `index.json`, or the one that holds `.precomputed`.

    Raises:
        DataError: it is no finished data set.
    """
    folder = data_folder(data)
    if folder != data:
        if data.is_file():
            return data
        raise DataError(
            f"{data}: there is no such index of a data set. Preprocess again, or give the folder "
            f"{folder} to take the data set that was preprocessed into it last"
        )
    for root in (folder, folder / OUTPUT_FOLDER):
        if index_path(root).is_file():
            return index_path(root)
    problem = "is no preprocessed data set" if folder.is_dir() else "no such folder"
    if any(
        (root / folder_of(VIDEO, LATENTS)).is_dir() for root in (folder, folder / OUTPUT_FOLDER)
    ):
        problem = "has latents but no index.json: its preprocessing was not finished"
    raise DataError(
        f"{folder}: {problem}. Expected a folder with index.json and latents/, or one that "
        f'holds {OUTPUT_FOLDER}/; make it with the node "Preprocess LTXV Dataset" or with '
        "`python -m ltxv_train_core preprocess METADATA_OR_FOLDER`"
    )
