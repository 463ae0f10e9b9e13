"""The records of a metadata file: csv (with commas, semicolons or tabs), json or jsonl.

A record that can't be read costs itself alone wherever it is sure where the next one begins.
"""

import csv
import io
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..errors import DataError, cut, shown
from ..media.formats import IMAGE_SUFFIXES, VIDEO_SUFFIXES
from ..storage.reading import parse_json, read_bytes
from .text_encodings import UTF8, decoded

# A json file is read as a whole and takes ten times its size of memory, csv and jsonl line by line.
LARGEST_METADATA_BYTES = 64 * 2**20
LARGEST_JSON_BYTES = 32 * 2**20
# Python's csv reads until a quote is closed: an open one would take the whole file.
_LONGEST_LINE = 2**20
MOST_RECORDS = 50_000
MOST_COLUMNS = 500
SHOWN_COLUMN = 24
"""Letters of a column's name in a message: too few for a secret in a file that is no metadata."""

METADATA_SUFFIXES = (".csv", ".tsv", ".json", ".jsonl")
_DELIMITERS = (",", ";", "\t")
_SEPARATOR_LINE = re.compile(r"\"?sep=([,;\t|])\"?[ ,;\t]*\r?\n", re.IGNORECASE)
"""As Excel writes it before the header, and reads it."""
_LINE_END = re.compile(r"\r\n|\r|\n")
_SUFFIXES = "|".join(suffix.lstrip(".") for suffix in sorted(VIDEO_SUFFIXES | IMAGE_SUFFIXES))
_ROW_IN_A_CELL = re.compile(rf"\n[^\n]{{0,1000}}\.({_SUFFIXES})\"?\s*(?=[,;\t\n]|$)", re.IGNORECASE)

Record = tuple[str, Any]
"""A label ("row 3") and an object, or what is wrong with it as a text."""


def read_records(source: Path) -> tuple[list[Record], str]:
    """What a metadata file holds: (label, object), or (label, problem) of what is none.

    Returns:
        the records, and the encoding that was taken.

    Raises:
        DataError: it can't be read.
    """
    readers = dict(
        zip(METADATA_SUFFIXES, (_csv_rows, _csv_rows, _json_rows, _jsonl_rows), strict=True)
    )
    reader = readers.get(source.suffix.lower())
    if reader is None:
        raise DataError(f"{source}: expected a .csv, .tsv, .json or .jsonl file, or a folder")
    largest = LARGEST_JSON_BYTES if reader is _json_rows else LARGEST_METADATA_BYTES
    try:
        content = read_bytes(source, largest)
        text, encoding = decoded(content)
    except OSError as error:
        raise DataError(f"{source}: can't be read ({error.strerror or error})") from error
    except UnicodeDecodeError as error:
        if reader is not _jsonl_rows:
            raise DataError(f"{source}: is not UTF-8 text; save it as UTF-8") from error
        text, encoding = content.decode("utf-8", "surrogateescape"), UTF8  # some lines are
    records: list[Record] = []
    for record in reader(source, text):
        if len(records) == MOST_RECORDS:
            raise DataError(f"{source}: has more than {MOST_RECORDS:,} records; split it")
        records.append(record)
    return records, encoding


def _csv_rows(source: Path, text: str) -> Iterator[Record]:
    lines = io.StringIO(text, newline="")
    start = 0
    if told := _SEPARATOR_LINE.match(text):
        start, delimiter = told.end(), told[1]
        lines.seek(start)
    else:
        delimiter = max(_DELIMITERS, key=lines.readline().count)
        lines.seek(0)
    before = text[:start].count("\n")
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    number = 0
    try:
        names = [name.strip() for name in next(reader, [])]
        _require_columns(source, names)
        for number, cells in enumerate(filter(None, reader), start=1):
            yield f"row {number}", _csv_record(names, cells, delimiter)
    except csv.Error as error:
        raise DataError(
            f"{source}: row {number + 1}, which ends in line {reader.line_num + before}: can't be read "
            f"({cut(str(error))}); put a cell with quotes in it in quotes, and double those in it"
        ) from error


def _require_columns(source: Path, names: list[str]) -> None:
    if len(names) > MOST_COLUMNS:
        raise DataError(f"{source}: has more than {MOST_COLUMNS:,} columns")
    for name in names:
        if name and names.count(name) > 1:
            raise DataError(
                f"{source}: has the column {shown(name, SHOWN_COLUMN)} twice; rename one of them"
            )


def _csv_record(names: list[str], cells: list[str], delimiter: str) -> dict[str, str] | str:
    if len(cells) > len(names) and any(cells[len(names) :]):
        separator = {",": "comma", ";": "semicolon", "\t": "tab"}.get(delimiter, delimiter)
        return (
            f"has {len(cells)} cells and the header {len(names)}: put a text with a {separator} in "
            "it in double quotes"
        )
    if any("\n" in cell and _ROW_IN_A_CELL.search(cell) for cell in cells):
        return "a cell has another row in it: a quote before it is never closed"
    return dict(zip(names, cells, strict=False))


def _json_rows(source: Path, text: str) -> Iterator[Record]:
    try:
        records = parse_json(text, nan_as_null=True)
    except ValueError as error:
        raise DataError(f"{source}: is not JSON ({cut(str(error))})") from error
    if not isinstance(records, list):
        raise DataError(f"{source}: expected a list of objects, found {type(records).__name__}")
    for number, record in enumerate(records, start=1):
        yield f"entry {number}", record if isinstance(record, dict) else "is not an object"


def _jsonl_rows(source: Path, text: str) -> Iterator[Record]:
    """A line that isn't an object costs that line alone."""
    for number, line in enumerate(_LINE_END.split(text), start=1):
        if not line.strip():
            continue
        try:
            if len(line) > _LONGEST_LINE:
                raise ValueError(f"it has more than {_LONGEST_LINE:,} letters")
            line.encode("utf-8")
            record = parse_json(line, nan_as_null=True)
        except UnicodeEncodeError:
            yield f"line {number}", "is not UTF-8 text; save it as UTF-8"
        except ValueError as error:
            yield f"line {number}", f"is not JSON: {cut(str(error))}"
        else:
            yield f"line {number}", record if isinstance(record, dict) else "is not an object"
