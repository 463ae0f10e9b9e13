"""The tokenizer that belongs to T5-XXL, which its single files lack. Nothing is downloaded for a
local file while one can be found on this machine."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ...errors import ModelError, cut
from ...models.sources.hub_download import download_folders, is_downloaded, require_reachable
from ...models.sources.known_folders import known_folders
from .versions import MAIN_REPOSITORY

_FOLDER = ("tokenizer",)
_IN_COMFYUI = Path("comfy", "text_encoders", "t5_tokenizer")
_SIGNS = ("tokenizer.json", "spiece.model")


def load_tokenizer(folder: Path) -> Any:
    """Raises `ModelError` where the folder holds none."""
    from transformers import AutoTokenizer

    try:
        return AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except Exception as error:  # each of its kinds raises others
        reason = cut(f"{type(error).__name__}: {error}", 200)
        raise ModelError(f"{folder}: holds no tokenizer that can be loaded ({reason})") from error


def find_t5_tokenizer(beside: Path) -> Path:
    """A folder with T5-XXL's tokenizer, for an encoder at `beside`.

    Searched: the encoder's folder and its subfolder `tokenizer`, a ComfyUI around it, the folders
    given to `look_in`, the Hugging Face cache. At last it is downloaded (2 MB).

    Raises:
        ModelError: when none is found and none can be downloaded.
    """
    found = next((place for place in _places(beside) if _holds_tokenizer(place)), None)
    if found:
        return found
    try:
        return download_folders(MAIN_REPOSITORY, _FOLDER) / _FOLDER[0]
    except ModelError as error:
        raise ModelError(
            f"{beside}: has no tokenizer, and none was found on this machine. Put tokenizer.json "
            f"(or spiece.model with tokenizer_config.json) of T5-XXL beside it. {error}"
        ) from error


def require_t5_tokenizer(beside: Path) -> None:
    """Raises `ModelError` when `find_t5_tokenizer` couldn't find one without a connection and there
    may be none."""
    if not any(_holds_tokenizer(place) for place in _places(beside)) and not is_downloaded(
        MAIN_REPOSITORY, _FOLDER
    ):
        require_reachable(f"{MAIN_REPOSITORY} (tokenizer)", cached=False)


def _places(beside: Path) -> Iterator[Path]:
    folder = beside if beside.is_dir() else beside.parent
    yield folder
    yield folder / "tokenizer"
    if beside.is_dir():
        yield folder.parent / "tokenizer"
    for parent in folder.absolute().parents:
        yield parent / _IN_COMFYUI
    yield from known_folders()


def _holds_tokenizer(folder: Path) -> bool:
    return any((folder / name).is_file() for name in _SIGNS)
