"""Updates a metadata file and keeps captions, and what is said, that people edited.

The caption of a file that has no row any more (the file is missing, or other scenes are wanted) moves
to `<metadata>-left-out.json` beside it. It returns when the file has a row again.
"""

import os
from collections import defaultdict, deque
from pathlib import Path
from typing import Any

from ..events import Notice, Reporter
from ..permissions import require_own
from ..storage.paths import unquoted
from .clip_files import has_our_form, write_rows
from .manifest import captions_of
from .records import read_records

Row = dict[str, Any]


def write_edited(path: Path, rows: list[Row]) -> list[Row]:
    """Writes rows with the captions that people have edited in the file.

    The file is read first; its caption replaces that of the new row. Several rows of one media file
    keep their own captions, in order.

    Returns:
        The rows that were written.

    Raises:
        DataError: what people wrote can't be read, or the file is somebody else's; nothing is
            written then.
        NotAllowedError: the file may not be written.
    """
    require_edited(path)
    aside = _left_out(path)
    known: dict[str, deque[Row]] = defaultdict(deque)
    for old in (*_read(path), *_read(aside)):
        known[_file(path, old)].append(old)
    written = []
    for new in rows:
        olds = known[_file(path, new)]
        old = olds.popleft() if olds else {}
        captions = {"caption": old["caption"]} if captions_of(old.get("caption")) else {}
        speech = old.get("speech")
        spoken = {"speech": speech} if isinstance(speech, str) and speech.strip() else {}
        written.append(new | captions | spoken)
    left = [old for olds in known.values() for old in olds if _says_something(old)]
    if left:
        write_rows(aside, left, has_our_form)
    write_rows(path, written, has_our_form)
    if not left:
        aside.unlink(missing_ok=True)
    return written


def require_edited(path: Path) -> None:
    """Raises as `write_edited` for a file that it would not write, before any work is done."""
    for each in (path, _left_out(path)):
        require_own(each, has_our_form)


def report_captions_aside(path: Path, report: Reporter) -> None:
    """Reports how many captions of files without a row are saved beside the metadata."""
    aside = _left_out(path)
    if rows := _read(aside):
        report(
            Notice(f"{len(rows)} captions of clips that have no row any more are saved in {aside}")
        )


def _left_out(path: Path) -> Path:
    return path.with_name(f"{path.stem}-left-out.json")


def _read(path: Path) -> list[Row]:
    if not path.is_file():
        return []
    return [record for _, record in read_records(path)[0] if isinstance(record, dict)]


def _says_something(row: Row) -> bool:
    return bool(captions_of(row.get("caption")) or str(row.get("speech") or "").strip())


def _file(path: Path, row: Row) -> str:
    """Which file a row is of, whether or not it is there."""
    written = unquoted(str(row.get("media_path", "")))
    return os.path.normpath(path.parent / written.replace("\\", "/"))
