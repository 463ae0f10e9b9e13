"""Which options a sweep varies, and over what: a line for each, `lora.rank: 8, 16, 32` or
`optimization.learning_rate: 1e-4 to 1e-3`."""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

from ..config.training import SECTIONS
from ..config.widgets import Option, options
from ..config.yaml_text import read_yaml
from ..errors import ConfigurationError, cut, shown

MOST_LINES = 16
MOST_VALUES = 64
_RANGE = re.compile(r"(?P<low>\S+)\s+to\s+(?P<high>\S+)")
_FIXED = {
    "data": "the runs are compared on the same held-out clips",
    "hub": "nothing of it changes what is learned",
    "trackers": "nothing of it changes what is learned",
    "validation": "nothing of it changes what is learned",
    "checkpoints": "the runs are compared at the same steps",
}
"""Sections that no sweep varies, and why."""


@dataclass(frozen=True)
class Dimension:
    """An option, and its values or the bounds of a range.

    Attributes:
        values: empty for a range.
        low, high: of a range; drawn evenly by ratio where both are above 0, else by difference.
    """

    section: str
    option: Option
    values: tuple[Any, ...] = ()
    low: float = math.nan
    high: float = math.nan

    @property
    def name(self) -> str:
        """Its dotted name."""
        return f"{self.section}.{self.option.name}"

    @property
    def is_ratio(self) -> bool:
        """Whether a range is drawn from by ratio."""
        return self.low > 0

    @property
    def is_whole(self) -> bool:
        """Whether a range has whole numbers alone."""
        return self.option.kind == "int"

    @property
    def ends(self) -> tuple[Any, ...]:
        """Both bounds of a range."""
        return tuple(round(end) if self.is_whole else end for end in (self.low, self.high))

    def draw(self, random: Random) -> Any:
        """One of the values, or a number of the range."""
        if self.values:
            return random.choice(self.values)
        if self.is_ratio:
            value = math.exp(random.uniform(math.log(self.low), math.log(self.high)))
        else:
            value = random.uniform(self.low, self.high)
        return round(value) if self.is_whole else float(f"{value:.3g}")


def read_space(text: str) -> tuple[Dimension, ...]:
    """The options of a text, line by line.

    Raises:
        ConfigurationError: names each line that can't be varied, and why.
    """
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    problems: list[str] = []
    found: list[Dimension] = []
    for line in lines[:MOST_LINES]:
        try:
            found.append(_dimension(line))
        except ValueError as error:
            problems.append(f"vary: {shown(line)}: {error}")
    names = [each.name for each in found]
    problems += [
        f"vary: {name} stands twice" for name in dict.fromkeys(names) if names.count(name) > 1
    ]
    if not lines:
        problems.append("vary: write a line for each option, for example lora.rank: 8, 16, 32")
    if len(lines) > MOST_LINES:
        problems.append(
            f"vary: {len(lines)} lines; at most {MOST_LINES} options are varied together"
        )
    if problems:
        raise ConfigurationError(problems)
    return tuple(found)


def _dimension(line: str) -> Dimension:
    name, colon, text = line.partition(":")
    section, dot, option_name = name.strip().partition(".")
    if not (colon and dot and text.strip()):
        raise ValueError("expected section.option: values, for example lora.rank: 8, 16, 32")
    if section not in SECTIONS:
        raise ValueError(
            f"there is no section {shown(section)}; expected one of {', '.join(SECTIONS)}"
        )
    if section in _FIXED:
        raise ValueError(f"the section {section} can't be varied: {_FIXED[section]}")
    by_name = {each.name: each for each in options(SECTIONS[section])}
    option = by_name.get(option_name)
    if option is None:
        raise ValueError(f"there is no such option; {section} has {cut(', '.join(by_name), 400)}")
    bounds = _RANGE.fullmatch(text.strip())
    if bounds:
        return _range(section, option, bounds["low"], bounds["high"])
    return Dimension(section, option, tuple(_values(option, text)))


def _range(section: str, option: Option, *ends: str) -> Dimension:
    if option.kind not in ("int", "float"):
        raise ValueError(f"has no numbers: list its values, divided by commas{_choices(option)}")
    try:
        low, high = map(float, ends)
    except ValueError:
        raise ValueError(
            f"{' to '.join(ends)}: expected two numbers, for example 1e-4 to 1e-3"
        ) from None
    if not -math.inf < low < high < math.inf:
        raise ValueError(f"{ends[0]} to {ends[1]}: the first number must be below the second")
    return Dimension(section, option, low=low, high=high)


def _values(option: Option, text: str) -> Sequence[Any]:
    try:
        values = read_yaml(f"[{text}]", "vary")
    except ConfigurationError:
        raise ValueError("its values can't be read; divide them by commas") from None
    if not isinstance(values, list) or not 1 <= len(values) <= MOST_VALUES:
        raise ValueError(f"expected 1 to {MOST_VALUES} values, divided by commas")
    return [_value(option, value) for value in values]


def _value(option: Option, value: Any) -> Any:
    """A value as it is listed. YAML takes 1e-4 for text, where it has no point."""
    if value == "none" and option.optional:
        return None
    if option.kind == "float" and isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            pass  # the configuration names it
    return value


def _choices(option: Option) -> str:
    return f" ({', '.join(option.choices)})" if option.choices else ""


def as_sections(values: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Values by dotted name, as a configuration has them."""
    found: dict[str, dict[str, Any]] = {}
    for name, value in values.items():
        section, _, option = name.partition(".")
        found.setdefault(section, {})[option] = value
    return found
