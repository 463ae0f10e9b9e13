"""Folders that are searched for small files which a model file lacks, such as a tokenizer."""

from pathlib import Path

_known: list[Path] = []


def look_in(folder: Path) -> None:
    """Adds a folder to those that are searched, such as the one that ComfyUI ships."""
    if folder not in _known:
        _known.append(folder)


def known_folders() -> tuple[Path, ...]:
    """Those that were added, in their order."""
    return tuple(_known)
