"""Atomic writes of files and folders, and digests of content."""

import hashlib
import json
import os
import re
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar
from uuid import uuid4

from .faults import named_faults

Result = TypeVar("Result")

_UNFINISHED = re.compile(r"\.(?P<stem>.+)\.[0-9a-f]{1,8}\.part(?P<suffix>\.\w+)?")
_OF_SAFETENSORS = re.compile(r"\.tmp[A-Za-z0-9]{6}")


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yields a temporary path beside `path`; it takes the final name when the block succeeds.

    Nobody else has the same temporary path: containers that share a drive have equal process ids.

    Raises:
        DiskError: the disk is full, fails, may not be written, or too many files are open.
    """
    temporary = path.with_name(f".{path.stem}.{uuid4().hex[:8]}.part{path.suffix}")
    with named_faults(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield temporary
            sync_file(temporary)
            put_in_place(temporary, path)
        finally:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)


@contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """Yields an empty folder beside `path`; it takes the place of `path` when the block succeeds.

    Raises:
        DiskError: as `atomic_path`.
    """
    temporary = path.with_name(f".{path.name}.{uuid4().hex[:8]}.part")
    with named_faults(path):
        temporary.mkdir(parents=True)
        try:
            yield temporary
            for file in temporary.rglob("*"):
                if file.is_file():
                    sync_file(file)
            sync_folder(temporary)
            replace_folder(temporary, path)
            sync_folder(path.parent)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


def is_unfinished(path: Path) -> bool:
    """Whether a file or folder is what a killed process has left of a write: by the name that
    `atomic_path` and `atomic_folder` give, or as safetensors 0.8 wrote for earlier versions, by its
    name and its content. Anything else is somebody's."""
    if _UNFINISHED.fullmatch(path.name):
        return True
    return _OF_SAFETENSORS.fullmatch(path.name) is not None and _begins_as_safetensors(path)


def finished(path: Path) -> Path:
    """What an unfinished file of ours would have become. Raises `ValueError` for any other."""
    found = _UNFINISHED.fullmatch(path.name)
    if found is None:
        raise ValueError(f"{path.name} is no unfinished file")
    return path.with_name(found["stem"] + (found["suffix"] or ""))


def _begins_as_safetensors(path: Path) -> bool:
    """Whether a regular file is empty, or begins with the length of a head and a head."""
    try:
        if path.is_symlink() or not path.is_file():
            return False
        with path.open("rb") as file:
            start = file.read(9)
    except OSError:
        return False
    return not start or (len(start) == 9 and not any(start[5:8]) and start[8:] == b"{")


def put_in_place(source: Path, target: Path) -> None:
    """Gives a file or a folder its final name."""
    with named_faults(target):
        _rename(source, target)


def _rename(source: Path, target: Path) -> None:
    patiently(lambda: source.replace(target))


def replace_folder(source: Path, target: Path) -> None:
    """Puts a folder in the place of another one, which is there until the new one can be.

    Windows renames no folder in which somebody reads a file: the old one then stays whole.
    """
    aside = target.with_name(f".{target.name}.{uuid4().hex[:8]}.part")
    with named_faults(target):
        was_there = target.exists()
        if was_there:
            _rename(target, aside)
        try:
            _rename(source, target)
        except OSError:
            if was_there:
                _rename(aside, target)
            raise
    shutil.rmtree(aside, ignore_errors=True)


def remove(path: Path) -> None:
    """Deletes a file, if it is there."""
    with named_faults(path):
        patiently(lambda: path.unlink(missing_ok=True))


def patiently(action: Callable[[], Result]) -> Result:
    """Does what Windows refuses while somebody reads or replaces the file or, as virus scanners do,
    reads what is new in the folder; that soon passes."""
    for _ in range(39 if os.name == "nt" else 0):
        try:
            return action()
        except PermissionError:
            time.sleep(0.05)
    return action()


def sync_file(path: Path) -> None:
    """Waits until a file's content would survive a power failure."""
    with named_faults(path), path.open("rb+") as file:
        os.fsync(file.fileno())


def sync_folder(path: Path) -> None:
    """Waits until the names in a folder would survive a power failure, where that can be asked."""
    if os.name != "nt":
        folder = os.open(path, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def write_text(path: Path, text: str) -> None:
    """Writes UTF-8 text atomically."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")


def append_text(path: Path, text: str) -> None:
    """Appends UTF-8 text to a file. Raises `DiskError` as `atomic_path`."""

    def append() -> None:
        with path.open("a", encoding="utf-8", newline="\n") as file:
            file.write(text)

    with named_faults(path):
        patiently(append)


def write_json(path: Path, value: object) -> None:
    """Writes indented JSON atomically; non-ASCII letters stay readable."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def sha256_file(path: Path, between: Callable[[], object] | None = None) -> str:
    """Hex digest of a file's content.

    Args:
        between: called after every megabyte; what it raises ends the reading.
    """
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
            if between:
                between()
    return digest.hexdigest()


def sha256_json(value: object, default: Callable[[Any], object] = str) -> str:
    """Hex digest of a value's canonical JSON."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=False, default=default)
    return hashlib.sha256(text.encode("utf-8")).hexdigest()
