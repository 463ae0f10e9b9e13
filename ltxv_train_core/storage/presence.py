"""Which of many files are there, asked by the folder and not one by one."""

import os
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path


def missing_files(root: Path, paths: Iterable[str]) -> list[str]:
    """Those of the paths below a folder, written with "/", where no file lies; links are followed."""
    folders: defaultdict[str, list[str]] = defaultdict(list)
    for path in paths:
        folders[path.rpartition("/")[0]].append(path)
    missing = []
    for folder, wanted in folders.items():
        there = _names(root / folder)
        # A folder may write a name in another way (letters of a case, accents): the system knows.
        missing += [
            path
            for path in wanted
            if path.rpartition("/")[2] not in there and not (root / path).is_file()
        ]
    return missing


def _names(folder: Path) -> set[str]:
    try:
        with os.scandir(folder) as entries:
            return {entry.name for entry in entries if entry.is_file()}
    except OSError:
        return set()
