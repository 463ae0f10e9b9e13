"""Lines of `lora.layer_rules`: rank and learning rate of some layers, or layers that are left out."""

import re
from dataclasses import dataclass

from ..errors import shown
from ..storage.reading import whole_number

MOST_RANK, MOST_RATE = 1024, 1000.0
_BLOCKS = re.compile(r"blocks?\s+(\d{1,4})(?:\s*-\s*(\d{1,4}))?(?:\s+(?P<rest>.+))?$", re.ASCII)
_FORM = "write 'PATTERN: rank N, rate X' or 'PATTERN: off', and 'blocks 0-9' before or instead of the pattern"


@dataclass(frozen=True)
class LayerRule:
    """One line.

    Attributes:
        written: the line.
        pattern: of layers, as in `lora.target_modules`; empty for all.
        blocks: the first and the last one; None for all layers.
        rank: None leaves it as it is.
        rate: a factor on the learning rate; None leaves it as it is.
        is_off: the layers are left out.
    """

    written: str
    pattern: str
    blocks: tuple[int, int] | None
    rank: int | None = None
    rate: float | None = None
    is_off: bool = False


def parse_layer_rule(line: str) -> LayerRule:
    """Reads a line. Raises `ValueError` that says what can't be read, and what may be written."""
    where, colon, what = line.partition(":")
    if not colon or not where.strip() or not what.strip():
        raise ValueError(f"{shown(line)}: {_FORM}")
    pattern, blocks = _place(line, where.strip())
    values = [value.strip() for value in what.split(",")]
    if "off" in values:
        if values != ["off"]:
            raise ValueError(
                f"{shown(line)}: off stands alone, as nothing else counts for layers that are left out"
            )
        return LayerRule(line, pattern, blocks, is_off=True)
    found: dict[str, float] = {}
    for value in values:
        name, _, number = value.partition(" ")
        if name in found:
            raise ValueError(f"{shown(line)}: {name} stands there twice")
        if name not in ("rank", "rate"):
            raise ValueError(f"{shown(line)}: {shown(value)} is unknown; {_FORM}")
        found[name] = _rank(line, number) if name == "rank" else _rate(line, number)
    rank = found.get("rank")
    return LayerRule(line, pattern, blocks, None if rank is None else int(rank), found.get("rate"))


def _place(line: str, where: str) -> tuple[str, tuple[int, int] | None]:
    found = _BLOCKS.match(where)
    if found is None:
        if " " in where:
            raise ValueError(f"{shown(line)}: {shown(where)} is no pattern; {_FORM}")
        return where, None
    first = int(found[1])
    last = int(found[2]) if found[2] else first
    if last < first:
        raise ValueError(f"{shown(line)}: blocks {first}-{last} go backwards; write {last}-{first}")
    return (found["rest"] or "").strip(), (first, last)


def _rank(line: str, number: str) -> int:
    rank = whole_number(number.strip())
    if rank is None or not 1 <= rank <= MOST_RANK:
        raise ValueError(
            f"{shown(line)}: rank {number.strip() or 'nothing'}: must be a whole number from 1 to {MOST_RANK}"
        )
    return rank


def _rate(line: str, number: str) -> float:
    try:
        rate = float(number)
    except ValueError:
        rate = 0.0
    if not 0 < rate <= MOST_RATE:
        raise ValueError(
            f"{shown(line)}: rate {number.strip() or 'nothing'}: must be a number above 0 and at most {MOST_RATE:g}, a "
            "factor on optimization.learning_rate; off leaves layers out"
        )
    return rate
