"""What this machine's user allowed, as data."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, fields
from typing import Any, Literal, TypeAlias

from ..errors import ConfigurationError, shown

GRANTS_VERSION = 1
OWN_ENTITY = "(own)"
"""Stands for the entity that belongs to the login at Weights & Biases."""

Visibility: TypeAlias = Literal["private", "public"]

_NAME = r"[\w\-][\w.\-]*"
_REPOSITORY = re.compile(f"{_NAME}/{_NAME}")
_DESTINATION = re.compile(f"{_NAME}(/{_NAME})?")
_ENTITY = re.compile(f"{_NAME}|{re.escape(OWN_ENTITY)}")


@dataclass(frozen=True)
class Upload:
    """A destination at the Hugging Face Hub.

    Attributes:
        to: a repository "owner/name", or a namespace "owner" with all its repositories.
        visibility: "public" allows both.
    """

    to: str
    visibility: Visibility = "private"

    def covers(self, repository: str, private: bool) -> bool:
        """Whether this destination includes a repository of that visibility."""
        is_there = self.to in (repository, repository.partition("/")[0])
        return is_there and (private or self.visibility == "public")


@dataclass(frozen=True)
class Grants:
    """
    Attributes:
        folders: absolute paths that may be read, and written where they are empty or ours.
        downloads: repositories at the Hub that models and data sets may come from.
        uploads: destinations that trained files may go to.
        entities: users or teams at Weights & Biases that runs may be logged to.
    """

    folders: tuple[str, ...] = ()
    downloads: tuple[str, ...] = ()
    uploads: tuple[Upload, ...] = ()
    entities: tuple[str, ...] = ()

    def __add__(self, other: "Grants") -> "Grants":
        return Grants(
            **{name: _unique((*mine, *theirs)) for name, mine, theirs in self._pairs(other)}
        )

    def __sub__(self, other: "Grants") -> "Grants":
        return Grants(
            **{
                name: tuple(each for each in mine if each not in theirs)
                for name, mine, theirs in self._pairs(other)
            }
        )

    def _pairs(self, other: "Grants") -> Iterable[tuple[str, Any, Any]]:
        names = [field.name for field in fields(Grants)]
        return [(name, getattr(self, name), getattr(other, name)) for name in names]

    def to_json(self) -> dict[str, object]:
        """The permissions as lists and texts, as `from_json` reads them."""
        return {
            "folders": list(self.folders),
            "downloads": list(self.downloads),
            "uploads": [{"to": each.to, "visibility": each.visibility} for each in self.uploads],
            "entities": list(self.entities),
        }

    @classmethod
    def from_json(cls, value: object) -> "Grants":
        """Raises `ConfigurationError` for anything that `to_json` doesn't give."""
        names = [field.name for field in fields(cls)]
        if not isinstance(value, dict) or not value.keys() <= set(names):
            raise ConfigurationError([f"permissions: expected an object with {', '.join(names)}"])
        return cls(
            folders=_texts("folders", value.get("folders", [])),
            downloads=_texts("downloads", value.get("downloads", []), _REPOSITORY),
            uploads=tuple(map(_upload, _list("uploads", value.get("uploads", [])))),
            entities=_texts("entities", value.get("entities", []), _ENTITY),
        )


def _upload(value: object) -> Upload:
    if isinstance(value, dict) and value.keys() == {"to", "visibility"}:
        to, visibility = value["to"], value["visibility"]
        is_known = visibility in ("private", "public")
        if is_known and isinstance(to, str) and _DESTINATION.fullmatch(to):
            return Upload(to, visibility)
    raise ConfigurationError(
        [
            f"uploads: {shown(value)}; expected a repository or namespace as `to` and `private` or "
            "`public` as `visibility`"
        ]
    )


def _texts(name: str, value: object, form: re.Pattern[str] | None = None) -> tuple[str, ...]:
    texts = _list(name, value)
    for each in texts:
        if not isinstance(each, str) or not each or (form and not form.fullmatch(each)):
            raise ConfigurationError([f"{name}: {shown(each)} is none"])
    return tuple(texts)


def _list(name: str, value: object) -> list[Any]:
    if not isinstance(value, list):
        raise ConfigurationError([f"{name}: expected a list, found {shown(value)}"])
    return value


def _unique(values: Iterable[Any]) -> tuple[Any, ...]:
    return tuple(dict.fromkeys(values))
