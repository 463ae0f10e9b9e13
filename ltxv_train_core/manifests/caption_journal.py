"""Captions, and what is said, as they are made, one line each, until the metadata is written with them.

Writing thousands of rows for each new one would take most of the time. A line is appended; the metadata
follows from time to time, and a journal that a killed process left is read by the next one.
"""

import json
from collections import defaultdict, deque
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from ..permissions import require_own, write_own
from ..storage.faults import named_faults
from .manifest import Clip

_KEYS = {"media", "caption"}


class CaptionJournal:
    """The journal of one process beside the metadata; `what` is "captions" or "speech"."""

    def __init__(self, metadata: Path, rank: int = 0, what: str = "captions"):
        self.path = metadata.with_name(f"{metadata.stem}-new-{what}-{rank}.jsonl")
        self._has_begun = False

    def add(self, media: Path, caption: str) -> None:
        """Appends a caption.

        Raises:
            DataError: the file is somebody else's.
            DiskError: it can't be written.
        """
        if not self._has_begun:
            write_own(self.path, "", _is_journal)
            self._has_begun = True
        line = json.dumps({"media": str(media), "caption": caption}, ensure_ascii=False)
        with named_faults(self.path), self.path.open("a", encoding="utf-8") as file:
            file.write(line + "\n")

    def clear(self) -> None:
        """Removes it, now that the metadata has what it held."""
        with suppress(OSError):
            self.path.unlink(missing_ok=True)
        self._has_begun = False


def journals(metadata: Path, what: str = "captions") -> list[CaptionJournal]:
    """Those beside a metadata file."""
    found = metadata.parent.glob(f"{metadata.stem}-new-{what}-*.jsonl")
    ranks = (path.stem.rpartition("-")[2] for path in sorted(found))
    return [CaptionJournal(metadata, int(rank), what) for rank in ranks if rank.isdecimal()]


def with_captions(clips: Sequence[Clip], written: Sequence[CaptionJournal]) -> list[Clip]:
    """Clips with the captions of journals, where they have none."""
    new: dict[str, deque[str]] = defaultdict(deque)
    for media, caption in _rows(written):
        new[media].append(caption)
    return [
        replace(clip, captions=(captions.popleft(),))
        if not clip.captions and (captions := new[str(clip.media)])
        else clip
        for clip in clips
    ]


def with_speech(clips: Sequence[Clip], written: Sequence[CaptionJournal]) -> list[Clip]:
    """Clips with what journals know of the sound, where they have no text of it."""
    new = dict(_rows(written))
    return [
        clip if clip.speech else replace(clip, speech=new.get(str(clip.audio or clip.media), ""))
        for clip in clips
    ]


def _rows(written: Sequence[CaptionJournal]) -> Iterator[tuple[str, str]]:
    """The files and texts of several journals, in order."""
    for journal in written:
        require_own(journal.path, _is_journal)
        yield from _read(journal.path)


def _read(path: Path) -> list[tuple[str, str]]:
    """The whole lines: a process may have been killed in the middle of one."""
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines(keepends=True)
    rows = [json.loads(line) for line in lines if line.endswith("\n") and _is_row(line)]
    return [(row["media"], row["caption"]) for row in rows]


def _is_row(line: str) -> bool:
    try:
        row = json.loads(line)
    except ValueError:
        return False
    return isinstance(row, dict) and row.keys() == _KEYS and all(map(_is_text, row.values()))


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _is_journal(text: str) -> bool:
    return all(map(_is_row, text.splitlines()[:1]))
