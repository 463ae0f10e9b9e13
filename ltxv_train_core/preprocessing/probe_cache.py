"""What was learned of media files, remembered so that they need not be read again.

A file whose size and modification time are as before is taken to be the same one; git and rsync
judge likewise. As times are coarse, one that was read within two seconds of its change is read
again the next time.

Some files look whole and can't be decoded. What came of trying is remembered by the key of what was to
be made of them, which changes with their content, and with the frames that are wanted.
"""

import os
import re
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ..media.animated import is_still
from ..media.formats import is_image, is_sound
from ..media.info import TRAITS, MediaInfo, is_plausible
from ..media.readable import DEFAULT_MEGAPIXELS, readable
from ..storage.atomic import sha256_file, write_json
from ..storage.reading import read_json

_FILE_NAME = "files.json"
VERSION = 1
TRAITS_VERSION = 2
"""Raised when files get traits that they had not: then one frame of each is looked at again."""
# FAT counts two seconds: a file written and read within them may change once more unseen.
COARSEST_CLOCK_NS = 2_000_000_000
LONGEST_REASON = 2000
SHA256 = re.compile("[0-9a-f]{64}")
_ENTRY = {"stamp", "sha256", "info", "read_ns"}


@dataclass(frozen=True)
class FileFacts:
    """The digest of a file's content, and what it shows."""

    sha256: str
    info: MediaInfo


class FactsMemory:
    """Facts by path relative to the data set's folder. Threads may ask at the same time."""

    def __init__(
        self,
        root: Path,
        recheck: bool = False,
        megapixels: float = DEFAULT_MEGAPIXELS,
        between: Callable[[], object] | None = None,
    ):
        """Args:
        root: the folder of the cache, which keeps the memory.
        recheck: read every file again.
        megapixels: larger pictures and frames are refused.
        between: called while a file is read; what it raises ends that.
        """
        self._megapixels = megapixels
        self._between = between
        self._path = root / _FILE_NAME
        # Seen from the folder itself: two sources that share it may have files of one name.
        self._base = root.absolute().parent
        remembered = {} if recheck else _read(self._path)
        self._known: dict[str, Any] = remembered.get("files", {})
        self._asked: dict[str, Any] = {}
        self._failures: dict[str, str] = remembered.get("failures", {})
        self._met: dict[str, str] = {}

    def of(self, media: Path) -> FileFacts:
        """Facts of a file, read from it where they aren't known.

        Raises:
            DataError: the file is missing, broken or too large.
        """
        name = _relative(media, self._base)
        with readable(media):
            status = media.stat()
        stamp = [status.st_size, status.st_mtime_ns]
        entry = self._asked.get(name)
        if entry and entry["stamp"] == stamp and entry["info"]:
            return _facts(entry)
        known = self._known.get(name)
        if (
            known
            and known["info"]
            and known["stamp"] == stamp
            and known["read_ns"] - stamp[1] > COARSEST_CLOCK_NS
        ):
            if "traits" not in known["info"]:
                known = self._with_traits(media, known)
            facts = _facts(known)
            pixels = facts.info.width * facts.info.height
            is_of_its_kind = (facts.info.suffix_is_of_an_image, facts.info.is_sound) == (
                is_image(media),
                is_sound(media),
            )
            if is_of_its_kind and pixels <= self._megapixels * 1e6:
                self._asked[name] = known
                return facts
        from ..media.sound import probe_sound
        from ..media.video import probe

        read_ns = time.time_ns()
        info = probe_sound(media) if is_sound(media) else probe(media, self._megapixels)
        with readable(media):
            facts = FileFacts(sha256_file(media, self._between), info)
        entry = {"stamp": stamp, "sha256": facts.sha256, "info": _described(facts.info)}
        same = known and {name: known[name] for name in entry} == entry
        self._asked[name] = known if same else {**entry, "read_ns": read_ns}
        return facts

    def has_sound(self, media: Path) -> bool:
        """Whether a video has sound.

        Raises:
            DataError: the file is missing, broken or too large.
        """
        self.of(media)
        entry = self._asked[_relative(media, self._base)]
        if "sound" not in entry:
            from ..media.sound import has_sound

            entry["sound"] = has_sound(media, self._megapixels)
        found: bool = entry["sound"]
        return found

    def digest(self, path: Path) -> str:
        """The digest of a file's content, whatever it is.

        Raises:
            DataError: the file is missing.
        """
        name = _relative(path, self._base)
        with readable(path):
            status = path.stat()
        stamp = [status.st_size, status.st_mtime_ns]
        known = self._known.get(name)
        if known and known["read_ns"] - stamp[1] <= COARSEST_CLOCK_NS:
            known = None
        for entry in (self._asked.get(name), known):
            if entry and entry["stamp"] == stamp:
                self._asked.setdefault(name, entry)
                return str(entry["sha256"])
        read_ns = time.time_ns()
        with readable(path):
            sha256 = sha256_file(path, self._between)
        self._asked[name] = {"stamp": stamp, "sha256": sha256, "info": None, "read_ns": read_ns}
        return sha256

    def _with_traits(self, media: Path, known: dict[str, Any]) -> dict[str, Any]:
        """What an earlier version knew of a file, and how it is shown, for which one frame is read, of a
        picture the head alone."""
        from ..media.images import traits_of_image
        from ..media.video import probe

        with readable(media):
            still = is_still(media)
        if still and known["info"]["is_image"]:
            traits = list(traits_of_image(media, self._megapixels))
            return {**known, "info": {**known["info"], "traits": traits}}

        return {**known, "info": _described(probe(media, self._megapixels))}

    def failure(self, key: str) -> str | None:
        """Why a file could not be made in an earlier pass."""
        if key in self._failures:
            self._met[key] = self._failures[key]
        return self._met.get(key)

    def add_failures(self, reasons: dict[str, str]) -> None:
        """Reasons by key."""
        self._met |= reasons

    def save(self, finished: bool = False) -> None:
        """Writes what is known.

        Args:
            finished: only what this pass asked for: nothing else in the folder needs the rest.
        """
        files = dict(self._asked) if finished else {**self._known, **self._asked}
        failures = dict(self._met) if finished else {**self._failures, **self._met}
        value: dict[str, Any] = {"version": VERSION, "traits": TRAITS_VERSION}
        value["files"] = dict(sorted(files.items()))
        value |= {"failures": dict(sorted(failures.items()))} if failures else {}
        if value != _read(self._path):
            write_json(self._path, value)


def _described(info: MediaInfo) -> dict[str, Any]:
    """As JSON has it."""
    return {**asdict(info), "traits": list(info.traits)}


def _facts(entry: dict[str, Any]) -> FileFacts:
    traits = tuple(entry["info"]["traits"])
    return FileFacts(entry["sha256"], MediaInfo(**{**entry["info"], "traits": traits}))


def _read(path: Path) -> dict[str, Any]:
    """What was remembered, as far as it can be: whoever hands a data set around may have changed it."""
    try:
        value = read_json(path)
    except (OSError, ValueError):
        return {}
    if not isinstance(value, dict) or value.get("version") != VERSION:
        return {}
    files, failures = value.get("files"), value.get("failures")
    traits = value.get("traits")
    read: dict[str, Any] = {"version": VERSION, "traits": traits, "files": {}}
    if isinstance(files, dict):
        read["files"] = {name: entry for name, entry in files.items() if _is_entry(entry)}
    if traits != TRAITS_VERSION:
        for entry in read["files"].values():
            if entry["info"]:
                entry["info"].pop("traits", None)
    if isinstance(failures, dict):
        reasons = {key: text for key, text in failures.items() if _is_reason(text)}
        read |= {"failures": reasons} if reasons else {}
    return read


def _is_entry(entry: Any) -> bool:
    """Whether it has the shape of what is written here, and numbers that a file can have."""
    if not isinstance(entry, dict) or entry.keys() - {"sound"} != _ENTRY:
        return False
    if type(entry.get("sound", True)) is not bool:
        return False
    stamp, sha256, info = entry["stamp"], entry["sha256"], entry["info"]
    if not (isinstance(sha256, str) and SHA256.fullmatch(sha256) and _is_count(entry["read_ns"])):
        return False
    if not (isinstance(stamp, list) and len(stamp) == 2 and all(type(n) is int for n in stamp)):
        return False
    if info is None:  # of a file whose content alone counts
        return True
    names = MediaInfo.__dataclass_fields__.keys()
    if not isinstance(info, dict) or info.keys() | {"traits"} != names:
        return False
    if type(info["is_image"]) is not bool or not _are_traits(info.get("traits", [])):
        return False
    if not all(map(_is_count, (info["width"], info["height"], info["frames"]))):
        return False
    if not info["frames"] or (info["width"] == 0) != (info["height"] == 0):
        return False  # a sound alone has neither
    return type(info["fps"]) in (int, float) and is_plausible(info["frames"], info["fps"])


def _are_traits(value: Any) -> bool:
    return isinstance(value, list) and value == [trait for trait in TRAITS if trait in value]


def _is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value < 2**63


def _is_reason(value: Any) -> bool:
    return isinstance(value, str) and len(value) <= LONGEST_REASON


def _relative(media: Path, base: Path) -> str:
    try:
        return Path(os.path.relpath(media, base)).as_posix()
    except ValueError:  # another drive of Windows
        return media.as_posix()
