"""What a person calls a run, and a note on it. The run's folder keeps its name."""

import os
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from ..errors import ConfigurationError, shown
from ..storage.atomic import write_json
from ..storage.reading import parse_json
from .own_files import can_be_shown, read_own

LABEL_FILE = "label.json"
MOST_TITLE, MOST_NOTE = 120, 1000

_LARGEST_BYTES = 2**14
_TICK_NS = 1000
"""Windows counts no finer than 100 ns."""


@dataclass(frozen=True)
class Label:
    """A title of one line and a note of any lines; both may be empty."""

    title: str = ""
    note: str = ""

    @classmethod
    def of(cls, title: object, note: object) -> "Label":
        """Checks what somebody has written.

        Raises:
            ConfigurationError: it is no text, too long, or not to be shown.
        """
        problems = []
        if not isinstance(title, str) or len(title) > MOST_TITLE or not can_be_shown(title):
            problems.append(
                f"title {shown(title)}: expected one line of at most {MOST_TITLE} letters"
            )
        if not isinstance(note, str) or len(note) > MOST_NOTE or not _is_text(note):
            problems.append(f"note {shown(note)}: expected text of at most {MOST_NOTE} letters")
        if problems:
            raise ConfigurationError(problems)
        return cls(str(title).strip(), str(note).strip())


NO_LABEL = Label()


def read_label(folder: Path) -> Label:
    """The label in a run's folder; an empty one where there is none that can be read."""
    try:
        found = parse_json(read_own(folder / LABEL_FILE, _LARGEST_BYTES))
        return Label.of(found["title"], found["note"])
    except (OSError, ValueError, LookupError, TypeError):
        return NO_LABEL


def write_label(folder: Path, state_file: Path, label: Label) -> None:
    """Puts a label in the place of the one there is.

    The state's file and the folder of the runs are marked as changed, by no more than makes a difference:
    who lists runs looks at those alone, and their order stays.
    """
    write_json(folder / LABEL_FILE, asdict(label))
    with suppress(OSError):
        status = state_file.lstat()
        os.utime(state_file, ns=(status.st_atime_ns, status.st_mtime_ns + _TICK_NS))
        os.utime(folder.parent)


def _is_text(note: str) -> bool:
    return all(can_be_shown(line) for line in note.replace("\t", " ").split("\n"))
