"""Lines of `data.more_data_sets`: further data sets of a run, how often and how strongly they are trained on."""

import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import PureWindowsPath
from typing import Any

from ..errors import shown
from ..storage.reading import whole_number

LEAST_REPEATS, MOST_REPEATS, MOST_WEIGHT, MOST_STAGES, MOST_LINES = 0.01, 1000.0, 100.0, 100, 100
HELD_OUT = "held_out"
_FORM = (
    "write 'PATH', or 'PATH: repeats 2, weight 0.5, caption_dropout 0.1, stage 2' with any of these, or "
    f"'PATH: {HELD_OUT}'"
)
_STAGES = re.compile(r"(\d{1,4})(?:\s*-\s*(\d{1,4}))?", re.ASCII)


@dataclass(frozen=True)
class DataSetLine:
    """One line.

    Attributes:
        root: as `data.preprocessed_data_root`.
        options: what stands behind the path.
        repeats: how often each clip is seen where one of a data set with 1 is seen once.
        weight: a factor on the loss of its clips.
        caption_dropout: instead of `conditioning.caption_dropout_p`; None: the same.
        stages: the first and the last one that it is trained in, counted from 1.
        is_held_out: it is never trained on, only measured.
    """

    root: str
    options: str = ""
    repeats: float = 1.0
    weight: float = 1.0
    caption_dropout: float | None = None
    stages: tuple[int, int] = (1, 1)
    is_held_out: bool = False

    @property
    def written(self) -> str:
        """The line."""
        return f"{self.root}: {self.options}" if self.options else self.root

    def is_in(self, stage: int) -> bool:
        """Whether it is trained on in a stage, counted from 1."""
        return self.stages[0] <= stage <= self.stages[1]

    def at(self, root: str) -> "DataSetLine":
        """The same of a data set elsewhere."""
        return replace(self, root=root)


def data_set_names(lines: Sequence[DataSetLine]) -> tuple[str, ...]:
    """What a person calls data sets, no two the same: the last folder of each one's path that isn't hidden, and its stage
    where several have that name."""
    folders = [_folder(line.root) for line in lines]
    is_staged = any(line.stages != (1, 1) for line in lines)
    seen: Counter[str] = Counter()
    names = []
    for name, line in zip(folders, lines, strict=True):
        if is_staged and folders.count(name) > 1:
            first, last = line.stages
            name += f" (stage {first})" if first == last else f" (stages {first}-{last})"
        seen[name] += 1
        names.append(name if seen[name] == 1 else f"{name} ({seen[name]})")
    return tuple(names)


def _folder(root: str) -> str:
    given = PureWindowsPath(root)  # reads both kinds of separators
    folders = (given.parent if given.suffix == ".json" else given).parts
    return next((each for each in reversed(folders) if not each.startswith(".")), root)


def data_set_line(
    root: str,
    repeats: float = 1.0,
    weight: float = 1.0,
    caption_dropout: float | None = None,
    stages: tuple[int, int] = (1, 1),
    is_held_out: bool = False,
) -> DataSetLine:
    """A line with such options. Raises `ValueError` where they or the path can't be written."""
    if is_held_out:
        options = [HELD_OUT]
    else:
        options = [f"repeats {repeats:g}"] if repeats != 1 else []
        options += [f"weight {weight:g}"] if weight != 1 else []
        options += [] if caption_dropout is None else [f"caption_dropout {caption_dropout:g}"]
        options += [] if stages == (1, 1) else [f"stages {stages[0]}-{stages[1]}"]
    line = DataSetLine(root, ", ".join(options))
    found = parse_data_set_line(line.written)
    if found.root != root:
        raise ValueError(f"{shown(root)}: the path of a data set can't have ': ' in it; rename it")
    return found


def parse_data_set_line(line: str) -> DataSetLine:
    """Reads a line. Raises `ValueError` that says what can't be read, and what may be written."""
    root, colon, options = line.rpartition(": ")
    if not colon:
        root, options = line.removesuffix(":"), ""
    root, options = root.strip(), options.strip()
    if not root:
        raise ValueError(f"{shown(line)}: there is no path; {_FORM}")
    found: dict[str, Any] = {}
    for part in filter(None, map(str.strip, options.split(","))):
        name, _, value = part.partition(" ")
        read = _OPTIONS.get(name)
        if read is None:
            raise ValueError(f"{shown(line)}: {shown(part)} is unknown; {_FORM}")
        option, parsed = read(line, value.strip())
        if option in found:
            raise ValueError(f"{shown(line)}: {option} stands there twice")
        found[option] = parsed
    if "is_held_out" in found and len(found) > 1:
        raise ValueError(
            f"{shown(line)}: {HELD_OUT} stands alone, as nothing else counts for clips that are only measured"
        )
    return DataSetLine(root, options, **found)


def _number(option: str, least: float, most: float) -> Callable[[str, str], tuple[str, Any]]:
    def read(line: str, text: str) -> tuple[str, float]:
        try:
            value = float(text)
        except ValueError:
            value = -1.0
        if not least <= value <= most:
            raise ValueError(
                f"{shown(line)}: {option} {text or 'nothing'}: must be a number from {least:g} to {most:g}"
            )
        return option, value

    return read


def _stages(line: str, text: str) -> tuple[str, tuple[int, int]]:
    found = _STAGES.fullmatch(text)
    first = whole_number(found[1]) if found else None
    last = whole_number(found[2]) if found and found[2] else first
    if first is None or last is None or not 1 <= first <= last <= MOST_STAGES:
        raise ValueError(
            f"{shown(line)}: stage {text or 'nothing'}: must be a number from 1 to {MOST_STAGES}, such as 'stage 2', or "
            "several, such as 'stages 2-3'"
        )
    return "stages", (first, last)


def _held_out(line: str, text: str) -> tuple[str, bool]:
    if text:
        raise ValueError(f"{shown(line)}: {HELD_OUT} takes no number; {_FORM}")
    return "is_held_out", True


_OPTIONS: dict[str, Callable[[str, str], tuple[str, Any]]] = {
    "repeats": _number("repeats", LEAST_REPEATS, MOST_REPEATS),
    "weight": _number("weight", LEAST_REPEATS, MOST_WEIGHT),
    "caption_dropout": _number("caption_dropout", 0.0, 1.0),
    "stage": _stages,
    "stages": _stages,
    HELD_OUT: _held_out,
}
