"""Files that are never seen half-written, and short names for what is in them."""

import hashlib
import json
import os
import shutil
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

from .errors import DataError

WINDOWS_MAX_PATH = 259
TEMPORARY_CHARACTERS = len("..12345678.part")
"""What the name of a file that is being written has more."""


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yields a temporary path beside `path`; it takes the final name when the block succeeds.

    Nobody else has the same temporary path: containers that share a drive have equal process ids.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.stem}.{uuid4().hex[:8]}.part{path.suffix}")
    try:
        yield temporary
        sync_file(temporary)
        put_in_place(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """Yields an empty folder beside `path`; it takes the place of `path` when the block succeeds."""
    temporary = path.with_name(f".{path.name}.{uuid4().hex[:8]}.part")
    temporary.mkdir(parents=True)
    try:
        yield temporary
        for file in temporary.rglob("*"):
            if file.is_file():
                sync_file(file)
        shutil.rmtree(path, ignore_errors=True)
        put_in_place(temporary, path)
        sync_folder(path.parent)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def put_in_place(source: Path, target: Path) -> None:
    """Gives a file or a folder its final name."""
    _patiently(lambda: source.replace(target))


def remove(path: Path) -> None:
    """Deletes a file, if it is there."""
    _patiently(lambda: path.unlink(missing_ok=True))


def _patiently(action: Callable[[], object]) -> None:
    """Windows refuses while somebody reads the file or, as virus scanners do, what is new in the
    folder; that soon passes."""
    tries = 40 if os.name == "nt" else 1
    for number in range(1, tries + 1):
        try:
            action()
            return
        except PermissionError:
            if number == tries:
                raise
            time.sleep(0.05)


def sync_file(path: Path) -> None:
    """Waits until a file's content would survive a power failure."""
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def sync_folder(path: Path) -> None:
    """Waits until the names in a folder would survive a power failure, where that can be asked."""
    if os.name != "nt":
        folder = os.open(path, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def files_below(folder: Path) -> list[Path]:
    """All files of a folder and of those in it, sorted; what begins with a dot is left out.

    Linked folders are followed. Each folder is looked at once: by the path that it really has where
    that is among them, by a link otherwise.
    """
    found: list[Path] = []
    seen: set[str] = set()
    waiting = deque([folder])
    while waiting:
        for place, folders, names in os.walk(waiting.popleft()):
            real = os.path.realpath(place)
            if real in seen:
                folders.clear()
                continue
            seen.add(real)
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            found += [Path(place, name) for name in names if not name.startswith(".")]
            # Links among them, which this walk doesn't follow, have their turn after it.
            waiting += [Path(place, name) for name in folders]
    return sorted(found)


def longest_path() -> int | None:
    """The most characters of a file's path, where there is such a limit that somebody may meet.

    Windows takes 260 with the zero behind them, unless its registry allows more; Python asks for more.
    https://docs.python.org/3/using/windows.html#removing-the-max-path-limitation
    """
    if sys.platform != "win32":
        return None
    import winreg

    try:
        name = r"SYSTEM\CurrentControlSet\Control\FileSystem"
        with winreg.OpenKey(winreg.HKEY_LOCAL_MACHINE, name) as key:
            return None if winreg.QueryValueEx(key, "LongPathsEnabled")[0] else WINDOWS_MAX_PATH
    except OSError:
        return WINDOWS_MAX_PATH


def require_short(path: Path) -> None:
    """Raises `DataError` for a file that this system can't write for the length of its path."""
    limit = longest_path()
    if limit is None:
        return
    length = len(str(path.absolute())) + TEMPORARY_CHARACTERS
    if length > limit:
        raise DataError(
            f"{path.absolute()}: writing it takes a path of {length} characters, and this Windows allows "
            f"{limit}: use a folder with a shorter path, or set LongPathsEnabled to 1 in the registry"
        )


def unquoted(path: str) -> str:
    """A path as written, without the quotes that Windows puts around it ("Copy as path")."""
    path = path.strip()
    return path[1:-1].strip() if len(path) > 1 and path[0] == path[-1] == '"' else path


def write_text(path: Path, text: str) -> None:
    """Writes UTF-8 text atomically."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")


def write_json(path: Path, value: Any) -> None:
    """Writes indented JSON atomically; non-ASCII letters stay readable."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def write_safetensors(path: Path, tensors: dict[str, Any], metadata: dict[str, str]) -> None:
    """Writes tensors and metadata as one safetensors file, atomically.

    The file can be read by whom the system lets read new files; the library alone would make it
    private.
    """
    from safetensors.torch import save_file

    with atomic_path(path) as temporary:
        temporary.touch()
        mode = temporary.stat().st_mode
        save_file({k: v.contiguous() for k, v in tensors.items()}, str(temporary), metadata)
        temporary.chmod(mode)


def read_torch_file(path: Path, mmap: bool = False) -> Any:
    """What `torch.save` has written, on the CPU. No code in the file is run.

    Raises:
        OSError, RuntimeError: it can't be read.
        ValueError: it is damaged, or has more in it than tensors and plain values.
    """
    import torch

    try:
        return torch.load(path, map_location="cpu", weights_only=True, mmap=mmap)
    except Exception as error:
        # torch's words say how to run the code in it.
        is_told = isinstance(error, OSError | RuntimeError | MemoryError)
        if is_told and "weights_only" not in str(error):
            raise
        raise ValueError(
            f"{path.name} is damaged, or has more in it than tensors and plain values"
        ) from None


@dataclass(frozen=True)
class StoredTensor:
    """A tensor to be written, made only when its turn comes.

    Attributes:
        dtype: as safetensors calls it, for example "BF16".
        nbytes: its size in the file.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    nbytes: int
    make: Callable[[], Any]


def stream_safetensors(
    path: Path, tensors: Iterable[StoredTensor], metadata: Mapping[str, str]
) -> None:
    """Writes a safetensors file tensor by tensor, atomically; one of them is in memory at a time."""
    from torch import uint8

    listed = list(tensors)
    header: dict[str, Any] = {"__metadata__": dict(metadata)}
    start = 0
    for tensor in listed:
        ends = [start, start + tensor.nbytes]
        header[tensor.name] = {
            "dtype": tensor.dtype,
            "shape": list(tensor.shape),
            "data_offsets": ends,
        }
        start = ends[1]
    head = json.dumps(header, ensure_ascii=False).encode("utf-8")
    head += b" " * (-len(head) % 8)
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        file.write(len(head).to_bytes(8, "little") + head)
        for tensor in listed:
            content = tensor.make().contiguous().reshape(-1).view(uint8).numpy()
            assert content.nbytes == tensor.nbytes, tensor.name
            file.write(content.data)
            del content


def sha256_file(path: Path) -> str:
    """Hex digest of a file's content."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def sha256_json(value: Any, default: Callable[[Any], Any] = str) -> str:
    """Hex digest of a value's canonical JSON."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=False, default=default)
    return hashlib.sha256(text.encode("utf-8")).hexdigest()
