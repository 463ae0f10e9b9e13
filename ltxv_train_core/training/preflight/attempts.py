"""Attempts whose failures become lines."""

from collections.abc import Callable
from typing import Any, TypeVar

from ...errors import LTXVTrainError
from .paths import SOURCES

T = TypeVar("T")


def errors(attempt: Callable[[], Any]) -> list[str]:
    """Why an attempt fails; nothing where it doesn't."""
    found: list[str] = []
    attempted(attempt, found)
    return found


def attempted(attempt: Callable[[], T], found: list[str]) -> T | None:
    """What an attempt gives; where it fails, the reason is added to what was found."""
    try:
        return attempt()
    except LTXVTrainError as error:
        line = str(error)
        found.append(f"model.{line}" if line.startswith(SOURCES) else line)
        return None
