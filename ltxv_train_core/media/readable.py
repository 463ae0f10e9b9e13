"""What may be opened, and how large it may be. Whatever a decoder throws names the file."""

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from ..errors import Cancelled, DataError, LTXVTrainError
from ..storage.faults import DiskError, is_short_of_files
from ..storage.reading import regular_status
from ..units import byte_size
from .formats import is_sound

# Decoders were measured to take up to 25 bytes a pixel: 2.5 GB for this.
DEFAULT_MEGAPIXELS = 100
LARGEST_MEGAPIXELS = 178
"""Pillow reads no tiles or WebP canvases beyond (`Image.MAX_IMAGE_PIXELS`, twice)."""
# Several of those at once would need several GB.
LARGE_PIXELS = 16_000_000
# A file of holes is no video, and hashing it takes minutes.
SPARSE_FILE_BYTES = 2**30
LEAST_SHARE_ON_DISK = 0.1
# Decoders may quote the file in what they raise.
_LONGEST_LINE = 200

_large = ThreadPoolExecutor(1, "ltxv-large")

Result = TypeVar("Result")


@contextmanager
def readable(path: Path) -> Iterator[None]:
    """Turns whatever decoders raise into one `DataError` that names the file; too many open files, which
    say nothing of it, into a `DiskError`."""
    try:
        _require_file(path)
        yield
    except (LTXVTrainError, Cancelled):
        raise
    except Exception as error:  # decoders of damaged files raise every kind
        if is_short_of_files(error):
            raise DiskError(f"{printable(path)}: can't be read: {error.strerror}", error) from error
        kind = "sound" if is_sound(path) else "video or image"
        raise DataError(
            f"{printable(path)}: can't be read as a {kind} ({_reason(error)})"
        ) from error


def printable(path: Path) -> str:
    """A path on one line, as UTF-8 can hold it."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in str(path))


def require_pixels(path: Path, width: int, height: int, megapixels: float) -> None:
    """Raises `DataError` for an image with more pixels than are read."""
    if width * height > megapixels * 1e6:
        raise DataError(
            f"{printable(path)}: has {width}x{height} pixels, and at most {megapixels:g} million "
            "are read: make it smaller"
        )


def one_large_at_a_time(pixels: int, work: Callable[[], Result]) -> Result:
    """Does work on a picture: on a large one in a thread that all of them share.

    They take turns so, and each uses the memory of the one before: a thread keeps to itself what
    Pillow gives back.
    """
    return work() if pixels < LARGE_PIXELS else _large.submit(work).result()


def _require_file(path: Path) -> None:
    """Raises `DataError` for what is no regular file, or is nearly all hole.

    Reading a hole to its end takes as long as reading a file.
    """
    try:
        status = regular_status(path)
    except FileNotFoundError:
        raise DataError(f"{printable(path)}: no such file") from None
    except OSError as error:
        raise DataError(f"{printable(path)}: {error.strerror}") from None
    on_disk = _bytes_on_disk(status)
    if status.st_size > SPARSE_FILE_BYTES and 0 < on_disk < LEAST_SHARE_ON_DISK * status.st_size:
        raise DataError(
            f"{printable(path)}: is incomplete: of its {byte_size(status.st_size)} only "
            f"{byte_size(on_disk)} were ever written"
        )


def _bytes_on_disk(status: os.stat_result) -> int:
    """0 where a system doesn't say: Windows, some network drives."""
    return getattr(status, "st_blocks", 0) * 512


def _reason(error: Exception) -> str:
    text = str(getattr(error, "strerror", None) or error) or type(error).__name__
    line = " ".join(text.split())
    return line if len(line) <= _LONGEST_LINE else f"{line[: _LONGEST_LINE - 4]} ..."
