"""What is said where no clip of a data set can be used."""

from collections.abc import Sequence
from pathlib import Path

from ..config import PreprocessSettings
from ..errors import DataError
from ..geometry import Grid
from ..media.info import MediaInfo
from .buckets import filled_size, named_sizes

MOST_REASONS = 10


def nothing_usable(source: Path, skipped: Sequence[tuple[str, str]], hint: str = "") -> DataError:
    """The error that names each reason once.

    Args:
        skipped: (name, reason) of each clip.
        hint: a last line.
    """
    names: dict[str, list[str]] = {}
    for name, reason in skipped:
        names.setdefault(reason, []).append(name)
    lines = [f"{source}: none of its clips can be used"]
    for reason, (first, *others) in [*names.items()][:MOST_REASONS]:
        lines.append(f"- {first}{f' and {len(others)} more' if others else ''}: {reason}")
    if len(names) > MOST_REASONS:
        lines.append(f"- and {len(names) - MOST_REASONS} more reasons")
    return DataError("\n".join([*lines, hint] if hint else lines))


def smaller_size(settings: PreprocessSettings, media: Sequence[MediaInfo], grid: Grid) -> str:
    """A size for files that fill no bucket, in words; empty where there is none."""
    bucket = named_sizes(settings.resolution_buckets)[0]
    size = filled_size(bucket, media, grid, settings.target_fps) if media else None
    return f"All of them fill {size}: resolution_buckets can be {size}" if size else ""
