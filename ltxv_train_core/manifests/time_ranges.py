"""Parts of a sound as people write them: seconds from and to."""

import re

from ..errors import DataError, shown

TimeRanges = tuple[tuple[float, float], ...]
"""Seconds from and to, of each part."""

_NUMBER = r"\s*([0-9]{1,9}(?:\.[0-9]{1,9})?)\s*"
_RANGE = re.compile(f"{_NUMBER}-{_NUMBER}")
_MOST = 1000


def time_ranges(text: str) -> TimeRanges:
    """Reads "0.5-1.2, 3-4"; nothing of an empty text.

    Raises:
        DataError: it says something else.
    """
    parts = [part for part in re.split("[,;]", text) if part.strip()]
    found = []
    for part in parts[: _MOST + 1]:
        match = _RANGE.fullmatch(part)
        if match is None or float(match[1]) >= float(match[2]):
            raise DataError(
                f"audio mask {shown(part.strip())}: expected seconds from and to, for example 0.5-1.2, several with "
                "commas between them"
            )
        found.append((float(match[1]), float(match[2])))
    if len(found) > _MOST:
        raise DataError(f"audio mask: names {len(parts)} parts, and at most {_MOST} are read")
    return tuple(found)


def written_ranges(ranges: TimeRanges) -> str:
    """As `time_ranges` reads them."""
    return ", ".join(f"{_seconds(start)}-{_seconds(end)}" for start, end in ranges)


def _seconds(number: float) -> str:
    return f"{number:.9f}".rstrip("0").rstrip(".")
