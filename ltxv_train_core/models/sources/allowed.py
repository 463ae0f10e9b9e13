"""Whether a base model may be read or downloaded, by its name alone."""

import re
from collections.abc import Iterable
from pathlib import Path

from ...config.redact import is_path
from ...errors import ModelError, shown
from ...permissions import policy
from ...storage.paths import as_path

REPOSITORY = re.compile(r"[\w.\-]+/[\w.\-]+")


def readable_path(source: str) -> Path:
    """What a model is called, as a path. One that is there, or can be nothing else, may be read.

    Raises:
        NotAllowedError: it may not.
    """
    path = as_path(source)
    if is_path(source) or path.exists():
        policy().require_read(path)
    return path


def folder_or_repository(model: str, what: str, expected: str) -> Path | str:
    """The folder of a model, or the name of its repository.

    Args:
        what, expected: what it is, and what its folder holds, for errors.

    Raises:
        ModelError: it is neither.
        NotAllowedError: the folder may not be read, or nothing may be downloaded from there.
    """
    folder = readable_path(model)
    if folder.is_dir():
        return folder
    if folder.exists() or model.startswith((".", "-")) or not REPOSITORY.fullmatch(model):
        raise ModelError(
            f'{what} {shown(model)}: no such folder; {expected}, or a Hugging Face repository "owner/name"'
        )
    policy().require_download(model)
    return model


def require_allowed(sources: Iterable[str | None]) -> None:
    """Looks at what models are called, before any of them is opened.

    Raises:
        NotAllowedError: a file may not be read, or nothing may be downloaded from a repository.
    """
    for source in filter(None, sources):
        if not readable_path(source).exists() and REPOSITORY.fullmatch(source):
            policy().require_download(source)
