"""What is wrong with a value of an option, in words: what is allowed, and what was given."""

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel
from pydantic_core import ErrorDetails

from ..errors import cut, shown

# A value of somebody else's file is quoted in it.
LONGEST_MESSAGE = 400

_ALLOWED = {
    "greater_than_equal": "must be at least {ge}",
    "greater_than": "must be above {gt}",
    "less_than_equal": "must be at most {le}",
    "less_than": "must be below {lt}",
    "multiple_of": "must be a multiple of {multiple_of}",
    "literal_error": "must be {expected}",
    "string_too_short": "must not be empty",
    "string_type": "must be text",
    "int_type": "must be a whole number",
    "int_parsing": "must be a whole number",
    "int_from_float": "must be a whole number",
    "int_parsing_size": "must be a whole number that is not so large",
    "float_type": "must be a number",
    "float_parsing": "must be a number",
    "finite_number": "must be a finite number",
    "bool_type": "must be true or false",
    "bool_parsing": "must be true or false",
    "tuple_type": "must be a list",
    "dict_type": "must be a mapping of names to values",
    "model_type": "must be a mapping of options to values",
}
"""By pydantic's kinds of errors, with the names of their contexts; for others its own words."""


def problem_line(problem: ErrorDetails, section: type[BaseModel], where: str = "") -> str:
    """One of pydantic's errors as a line that names the option.

    Args:
        section: what was validated.
        where: put before the option's name.
    """
    names = [*([where] if where else []), *map(str, problem["loc"])]
    path = cut(".".join(names))
    kind = problem["type"]
    if kind == "missing":
        return f"{path}: must be given"
    if kind == "extra_forbidden":
        return f"{path}: no such option"
    message = cut(problem["msg"].removeprefix("Value error, "), LONGEST_MESSAGE)
    if kind == "value_error":
        return f"{path}: {message}" if path else message
    if kind == "string_pattern_mismatch":
        message = f"must be {_described(section, problem['loc'])}"
    elif kind in _ALLOWED:
        context: Mapping[str, Any] = problem.get("ctx", {})
        message = cut(_ALLOWED[kind].format_map(context), LONGEST_MESSAGE)
    return f"{path}: {message} (given: {shown(problem['input'])})"


def _described(section: type[BaseModel], path: tuple[int | str, ...]) -> str:
    """What an option with a pattern allows, in words."""
    described: Any = section
    for name in path[:-1]:
        described = described.model_fields[name].annotation
    extra = described.model_fields[path[-1]].json_schema_extra
    return str(extra["allowed"])
