"""What was learned of media files, remembered so that they need not be read again.

A file whose size and modification time are as before is taken to be the same one; git and rsync
judge likewise. As times are coarse, one that was read within two seconds of its change is read
again the next time.

Some files look whole and can't be decoded. What came of trying is remembered by the key of what was to
be made of them, which changes with their content, and with the frames that are wanted.
"""

import json
import os
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ..errors import DataError
from ..files import sha256_file, write_json
from ..media.info import MediaInfo

FILE_NAME = "files.json"
VERSION = 1
COARSEST_CLOCK_NS = 2_000_000_000


@dataclass(frozen=True)
class FileFacts:
    """The digest of a file's content, and what it shows."""

    sha256: str
    info: MediaInfo


class FactsMemory:
    """Facts by path relative to the data set's folder. Threads may ask at the same time."""

    def __init__(self, root: Path, base: Path, recheck: bool = False):
        """Args:
        root: the folder of the cache, which keeps the memory.
        base: the folder that paths are relative to.
        recheck: read every file again.
        """
        self._path = root / FILE_NAME
        self._base = base
        remembered = {} if recheck else _read(self._path)
        self._known: dict[str, Any] = remembered.get("files", {})
        self._asked: dict[str, Any] = {}
        self._failures: dict[str, str] = remembered.get("failures", {})
        self._met: dict[str, str] = {}

    def of(self, media: Path) -> FileFacts:
        """Facts of a file, read from it where they aren't known.

        Raises:
            DataError: the file is missing or broken.
        """
        name = _relative(media, self._base)
        try:
            status = media.stat()
        except OSError as error:
            raise DataError(f"{media}: can't be read ({error.strerror})") from error
        stamp = [status.st_size, status.st_mtime_ns]
        if (entry := self._asked.get(name)) and entry["stamp"] == stamp:
            return _facts(entry)
        known = self._known.get(name)
        if known and known["stamp"] == stamp and known["read_ns"] - stamp[1] > COARSEST_CLOCK_NS:
            self._asked[name] = known
            return _facts(known)
        from ..media.video import probe

        read_ns = time.time_ns()
        facts = FileFacts(sha256_file(media), probe(media))
        entry = {"stamp": stamp, "sha256": facts.sha256, "info": asdict(facts.info)}
        same = known and {name: known[name] for name in entry} == entry
        self._asked[name] = known if same else {**entry, "read_ns": read_ns}
        return facts

    def failure(self, key: str) -> str | None:
        """Why a file could not be made in an earlier pass."""
        if key in self._failures:
            self._met[key] = self._failures[key]
        return self._met.get(key)

    def add_failures(self, reasons: dict[str, str]) -> None:
        """Reasons by key."""
        self._met |= reasons

    def save(self, finished: bool = False) -> None:
        """Writes what is known; of a finished pass, only what it asked for."""
        files = dict(self._asked) if finished else {**self._known, **self._asked}
        failures = dict(self._met) if finished else {**self._failures, **self._met}
        value = {"version": VERSION, "files": dict(sorted(files.items()))}
        value |= {"failures": dict(sorted(failures.items()))} if failures else {}
        if value != _read(self._path):
            write_json(self._path, value)


def _facts(entry: dict[str, Any]) -> FileFacts:
    return FileFacts(entry["sha256"], MediaInfo(**entry["info"]))


def _read(path: Path) -> dict[str, Any]:
    """What was remembered; nothing, if it can't be read."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
        return value if value["version"] == VERSION else {}
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def _relative(media: Path, base: Path) -> str:
    try:
        return Path(os.path.relpath(media, base)).as_posix()
    except ValueError:  # another drive of Windows
        return media.as_posix()
