"""Text and JSON out of files that anybody may have written: regular ones only, of bounded size.

What is wrong is an `OSError` (the file) or a `ValueError` (its content), whatever the content is.
"""

import json
import os
import stat
from pathlib import Path
from typing import Any, BinaryIO

LARGEST_TEXT_BYTES = 64 * 2**20
MOST_CONTAINERS = 300_000
"""Of a JSON text: each takes many times the memory of its letters."""


class NotRegularError(OSError):
    """A folder, a pipe, a device or a socket where a file is wanted."""


class TooLargeError(OSError):
    """A file beyond the size that is read at once."""


def regular_status(path: Path) -> os.stat_result:
    """The status of a regular file; a link counts as what it points to.

    Raises:
        NotRegularError: it is none. It is not opened: some would block, or never end.
        OSError: it can't be looked at.
    """
    try:
        status = path.stat()
    except ValueError as error:  # a name with a null character
        raise FileNotFoundError(2, str(error), str(path)) from None
    if not stat.S_ISREG(status.st_mode):
        raise NotRegularError(22, "is no regular file", str(path))
    return status


def is_regular(path: Path) -> bool:
    """Whether it is a regular file that can be looked at; links are followed."""
    try:
        regular_status(path)
    except OSError:
        return False
    return True


def open_regular(path: Path, largest_bytes: int | None = None) -> BinaryIO:
    """Opens a regular file to read bytes. Raises `OSError`, also for a size beyond the bound."""
    size = regular_status(path).st_size
    if largest_bytes is not None and size > largest_bytes:
        raise TooLargeError(
            27, f"has {size:,} bytes, and at most {largest_bytes:,} are read", str(path)
        )
    return path.open("rb")


def read_bytes(path: Path, largest_bytes: int = LARGEST_TEXT_BYTES) -> bytes:
    """Raises `OSError`: it can't be read, is no regular file, or is too large."""
    with open_regular(path, largest_bytes) as file:
        return file.read(largest_bytes)


def read_text(path: Path, largest_bytes: int = LARGEST_TEXT_BYTES, errors: str = "strict") -> str:
    """UTF-8 text, with or without a byte order mark, with line ends as "\\n".

    Raises:
        OSError: it can't be read, is no regular file, or is too large.
        UnicodeDecodeError: it is no UTF-8.
    """
    text = read_bytes(path, largest_bytes).decode("utf-8-sig", errors)
    return text.replace("\r\n", "\n").replace("\r", "\n")


def read_json(
    path: Path,
    largest_bytes: int = LARGEST_TEXT_BYTES,
    most_containers: int = MOST_CONTAINERS,
) -> Any:
    """Raises `OSError` as `read_text`, and `ValueError` for what is no JSON."""
    return parse_json(read_text(path, largest_bytes), most_containers=most_containers)


def parse_json(text: str, nan_as_null: bool = False, most_containers: int = MOST_CONTAINERS) -> Any:
    """Strict JSON: without NaN and infinities.

    Args:
        nan_as_null: take them for null, as tables write them for an empty cell.
        most_containers: how many lists and objects it may have.

    Raises:
        ValueError: it is none, nested too deeply, or of too many lists and objects.
    """
    if text.count("[") + text.count("{") > most_containers:
        raise ValueError(f"it has more than {most_containers:,} lists and objects")
    try:
        return json.loads(text, parse_constant=_null if nan_as_null else _refuse)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def whole_number(text: str) -> int | None:
    """The number that a name is, such as that of a step's folder; None where it is none."""
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 15 else None


def _null(constant: str) -> None:
    return None


def _refuse(constant: str) -> Any:
    raise ValueError(f"{constant} is no number of JSON")
