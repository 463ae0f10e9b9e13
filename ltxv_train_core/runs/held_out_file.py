"""`held_out.jsonl`: the losses of clips that a run never trains on, a line of JSON for each measured step."""

import json
import math
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated

from pydantic import Field, TypeAdapter

from ..storage.atomic import append_text, write_text
from ..storage.reading import NotRegularError
from .own_files import open_own
from .state import MOST_STEPS

MOST_LINES = 20_000
_MOST_BYTES = 64 * 2**20
_LARGEST = 1e30
"""That a number can be: sums of them stay finite."""

Losses = tuple[tuple[float, ...], ...]
"""[clips][noise levels]"""


@dataclass(frozen=True)
class HeldOutLosses:
    """What was measured of one step, always with the same noise.

    Attributes:
        levels: noise levels.
        clips: of each clip the loss at each level; with sound it is the weighted sum that training lowers.
        streams: of a run with sound, the same of each stream by name, before its weight.
        average: as `clips`, of the averaged weights; empty in runs without an average.
        seconds: that measuring took.
        moved: how far predictions are from the base's, relative squared; None: not measured (full training, and
            runs of earlier versions).
        moved_without_prompt: the same with the empty caption; None also where the data set has none.
        data_sets: of each clip the name of its data set, where they are of several; otherwise, and in runs of earlier
            versions, empty.
    """

    step: Annotated[int, Field(ge=0, le=MOST_STEPS)]
    levels: tuple[float, ...]
    clips: Losses
    streams: dict[str, Losses] = field(default_factory=dict)
    average: Losses = ()
    seconds: float = 0.0
    moved: float | None = None
    moved_without_prompt: float | None = None
    data_sets: tuple[str, ...] = ()

    @property
    def rows(self) -> Losses:
        """All that was measured: of the clips, their average and each stream."""
        streams = (row for each in self.streams.values() for row in each)
        return (*self.clips, *self.average, *streams)

    @property
    def is_finite(self) -> bool:
        """Whether no number is NaN, infinite or larger than a loss can be."""
        others = (self.seconds, self.moved or 0.0, self.moved_without_prompt or 0.0)
        numbers = (number for row in (*self.rows, self.levels, others) for number in row)
        return all(abs(number) <= _LARGEST for number in numbers)

    @property
    def loss(self) -> float:
        """The mean over clips and levels."""
        return mean(self.clips)

    @property
    def moved_text(self) -> str:
        """How far the model has moved, in words; empty where it wasn't measured."""
        if self.moved is None:
            return ""
        captions = f"moved with captions: {percent(self.moved)}"
        if self.moved_without_prompt is None:
            return f"{captions} (without prompt: not measured, the data set has no empty caption)"
        return f"{captions}, without prompt: {percent(self.moved_without_prompt)}"

    @property
    def average_loss(self) -> float:
        """That of the averaged weights; NaN where there are none."""
        return mean(self.average)

    @property
    def by_level(self) -> tuple[float, ...]:
        """The mean over the clips at each level."""
        return tuple(sum(column) / len(column) for column in zip(*self.clips, strict=True))

    @property
    def by_data_set(self) -> dict[str, float]:
        """The mean over the clips of each data set, by name; empty where they are of one."""
        rows: dict[str, list[tuple[float, ...]]] = {}
        for name, row in zip(self.data_sets, self.clips, strict=False):
            rows.setdefault(name, []).append(row)
        return {name: mean(tuple(each)) for name, each in rows.items()} if len(rows) > 1 else {}

    @property
    def by_clip(self) -> tuple[float, ...]:
        """The mean over the levels of each clip."""
        return tuple(sum(row) / len(row) for row in self.clips)


_LINE = TypeAdapter(HeldOutLosses)


def mean(losses: Losses) -> float:
    """Of all numbers; NaN of none."""
    numbers = [loss for row in losses for loss in row]
    return sum(numbers) / len(numbers) if numbers else math.nan


def percent(share: float) -> str:
    """A share in per cent with two digits, such as "3.4 %"; large ones without decimals."""
    number = 100 * share
    return f"{number:.0f} %" if number >= 10 else f"{number:.2g} %"


def append_losses(path: Path, losses: HeldOutLosses) -> None:
    """Appends what was measured of a step as one line of JSON."""
    append_text(path, _line(losses))


def write_losses(path: Path, found: list[HeldOutLosses]) -> None:
    """Puts a file with these lines in the place of the one there is."""
    write_text(path, "".join(map(_line, found)))


def read_losses(path: Path) -> list[HeldOutLosses]:
    """What was measured, in order of the steps; of a step that was measured twice, the later line counts.

    A line that is damaged, or of other clips than the newest, costs itself. Nothing where there is no file.

    Raises:
        OSError: it can't be read.
    """
    try:
        with open_own(path) as file:
            lines = file.read(_MOST_BYTES).splitlines()[:MOST_LINES]
    except (FileNotFoundError, NotRegularError):
        return []
    found = {each.step: each for line in lines if (each := _parsed(line)) is not None}
    steps = [found[step] for step in sorted(found)]
    return [each for each in steps if _shape(each) == _shape(steps[-1])]


def _line(losses: HeldOutLosses) -> str:
    return json.dumps(asdict(losses), allow_nan=False) + "\n"


def _parsed(line: bytes) -> HeldOutLosses | None:
    try:
        found = _LINE.validate_json(line)
    except ValueError:
        return None
    is_whole = bool(found.clips and found.levels) and all(
        len(row) == len(found.levels) for row in found.rows
    )
    return found if is_whole and found.is_finite else None


def _shape(losses: HeldOutLosses) -> tuple[int, tuple[float, ...]]:
    return len(losses.clips), losses.levels
