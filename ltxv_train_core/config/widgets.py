"""Options as a user interface sees them: one description derived from each pydantic field.

Null is written as 0, an empty text or "none"; several lines of text are a list, and so are numbers with
commas between them; a mapping is YAML text; a video size is "WxHxF".
"""

import types
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar, Union, get_args, get_origin

import annotated_types
import yaml
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from ..errors import ConfigurationError, shown
from ..geometry import VideoSize
from ..storage.reading import whole_number
from .base import Section
from .training import SECTIONS, TrainingConfig, build
from .yaml_text import read_yaml

SectionT = TypeVar("SectionT", bound=Section)
WidgetKind = Literal[
    "int", "float", "bool", "choice", "text", "lines", "numbers", "mapping", "size"
]

NONE = "none"


@dataclass(frozen=True)
class Option:
    """One option of a section, ready to become a widget.

    Attributes:
        kind: what the widget holds; "lines", "numbers", "mapping" and "size" are texts.
        default: a widget value; None where the option must be given.
        minimum, maximum, step: bounds of a number.
        choices: allowed values of a "choice".
        optional: null is allowed.
        multiline: the text takes several lines.
        advanced: few change it.
    """

    name: str
    kind: WidgetKind
    default: Any
    description: str
    minimum: float | None = None
    maximum: float | None = None
    step: float | None = None
    choices: tuple[str, ...] = ()
    optional: bool = False
    multiline: bool = False
    advanced: bool = False

    def to_widget(self, value: Any) -> object:
        """A widget's value for an option's value."""
        if value is None:
            return {"int": 0, "float": 0.0, "choice": NONE}.get(self.kind, "")
        if self.kind == "lines":
            return "\n".join(value)
        if self.kind == "numbers":
            return ", ".join(map(str, value))
        if self.kind == "mapping":
            return yaml.safe_dump(value, default_flow_style=False) if value else ""
        if self.kind == "size":
            return "x".join(map(str, value))
        return value

    def from_widget(self, value: object) -> object:
        """An option's value for a widget's value.

        Raises:
            ConfigurationError: for numbers, a mapping or a size that can't be read.
        """
        if isinstance(value, str) and self.kind != "choice":
            value = value.strip() if self.kind != "text" or not self.multiline else value
        if self.optional and value in (0, "", NONE):
            return None
        if not isinstance(value, str):
            return value
        if self.kind == "lines":
            return tuple(line.strip() for line in value.splitlines() if line.strip())
        if self.kind == "numbers":
            return _numbers(self.name, value)
        if self.kind == "mapping":
            return _mapping(self.name, value)
        if self.kind == "size":
            size = VideoSize.parse(value)
            return (size.width, size.height, size.frames)
        return value


def options(section: type[Section]) -> tuple[Option, ...]:
    """The options of a section, in the order of its fields."""
    return tuple(_option(name, field) for name, field in section.model_fields.items())


def top_level_options() -> tuple[Option, ...]:
    """The options of a configuration that belong to no section."""
    fields = TrainingConfig.model_fields.items()
    return tuple(_option(name, field) for name, field in fields if name not in SECTIONS)


def from_widgets(
    section: type[SectionT], values: Mapping[str, object], where: str = ""
) -> SectionT:
    """Builds a section from widget values; options that are not given keep their defaults.

    Raises:
        ConfigurationError: with one line for each problem.
    """
    known = {option.name: option for option in options(section)}
    problems: list[str] = []
    read: dict[str, Any] = {}
    for name, value in values.items():
        try:
            read[name] = known[name].from_widget(value) if name in known else value
        except ConfigurationError as error:
            problems += [f"{where}.{name}: {line}" if where else line for line in error.problems]
    if problems:
        raise ConfigurationError(problems)
    return build(section, read, where)


def to_widgets(section: Section) -> dict[str, object]:
    """The widget values of a section."""
    return {o.name: o.to_widget(getattr(section, o.name)) for o in options(type(section))}


def _option(name: str, field: FieldInfo) -> Option:
    annotation, optional = _without_none(field.annotation)
    kind, choices = _kind(annotation)
    extra = field.json_schema_extra if isinstance(field.json_schema_extra, dict) else {}
    step: Any = extra.get("step") or (1 if kind == "int" else 0.01)
    minimum, maximum = _bounds(field, step)
    if optional and kind in ("int", "float"):
        minimum = 0
    if optional and kind == "choice":
        choices = (NONE, *choices)
    if kind == "float" and minimum is None:
        minimum = step
    option = Option(
        name=name,
        kind=kind,
        default=None,
        description=field.description or "",
        minimum=minimum,
        maximum=maximum,
        step=step if kind in ("int", "float") else None,
        choices=choices,
        optional=optional,
        multiline=kind in ("lines", "mapping") or bool(extra.get("multiline")),
        advanced=bool(extra.get("advanced")),
    )
    if field.default is PydanticUndefined:
        return option
    return Option(**{**option.__dict__, "default": option.to_widget(field.default)})


def _without_none(annotation: Any) -> tuple[Any, bool]:
    if get_origin(annotation) not in (Union, types.UnionType):
        return annotation, False
    kept = [part for part in get_args(annotation) if part is not type(None)]
    assert len(kept) == 1, annotation
    return kept[0], True


def _kind(annotation: Any) -> tuple[WidgetKind, tuple[str, ...]]:
    if get_origin(annotation) is Literal:
        return "choice", get_args(annotation)
    if get_origin(annotation) is dict:
        return "mapping", ()
    if annotation == tuple[str, ...]:
        return "lines", ()
    if annotation == tuple[int, ...]:
        return "numbers", ()
    if annotation == tuple[int, int, int]:
        return "size", ()
    kinds: dict[Any, WidgetKind] = {
        bool: "bool",
        int: "int",
        float: "float",
        str: "text",
        Path: "text",
    }
    return kinds[annotation], ()


def _bounds(field: FieldInfo, step: float) -> tuple[float | None, float | None]:
    minimum: Any = None
    maximum: Any = None
    for bound in field.metadata:
        if isinstance(bound, annotated_types.Ge):
            minimum = bound.ge
        if isinstance(bound, annotated_types.Le):
            maximum = bound.le
        if isinstance(bound, annotated_types.Lt):
            below: Any = bound.lt
            maximum = below - step
    return minimum, maximum


def _numbers(name: str, text: str) -> tuple[int, ...]:
    numbers = [whole_number(word) for word in text.replace(",", " ").split()]
    found = tuple(number for number in numbers if number is not None)
    if len(found) < len(numbers):
        raise ConfigurationError(
            [
                f"{name} {shown(text)}: expected whole numbers with commas between them, such as 28, 35"
            ]
        )
    return found


def _mapping(name: str, text: str) -> dict[str, Any]:
    value = read_yaml(text, name)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise ConfigurationError([f"{name} {shown(text)}: expected one 'name: value' per line"])
    return value
