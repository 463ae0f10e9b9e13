"""Decides what this process may do; set once, when it starts."""

import json
import os
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, TypeAlias

from ..errors import LTXVTrainError, shown
from ..storage.paths import as_path
from .grants import OWN_ENTITY
from .store import GrantFile, default_file

POLICY_VARIABLE = "LTXV_TRAIN_POLICY"
"""Environment variable of a process that trains for another one."""

AskKind: TypeAlias = Literal["folders", "downloads"]


@dataclass(frozen=True)
class Ask:
    """What would have to be allowed: a field of `Grants`, and the value to put there."""

    kind: AskKind
    value: str


class NotAllowedError(LTXVTrainError):
    """Something that this machine's user has not allowed. Nothing was opened or sent.

    Attributes:
        ask: what would have to be allowed.
    """

    def __init__(self, message: str, ask: Ask):
        self.ask = ask
        super().__init__(message)


class _Common:
    """What leaves the machine goes only where its user has allowed it.

    Attributes:
        grants: what was allowed.
    """

    def __init__(self, grants: GrantFile):
        self.grants = grants

    def require_read(self, path: Path) -> None:
        """Raises `NotAllowedError` for a file or folder that may not be read, whether or not it is
        there."""

    def may_read(self, path: Path) -> bool:
        try:
            self.require_read(path)
        except NotAllowedError:
            return False
        return True

    def may_upload(self, repository: str, private: bool) -> bool:
        """Whether trained files may be uploaded to a repository of the Hub."""
        return any(each.covers(repository, private) for each in self.grants.read().uploads)

    def may_log_to(self, entity: str | None) -> bool:
        """Whether a run may be logged to an entity at Weights & Biases; None is the login's own."""
        return (entity or OWN_ENTITY) in self.grants.read().entities


class CommandLine(_Common):
    """The policy of a command line: its paths are consent.

    Attributes:
        leaves: what the configuration asks to send is consent too (`--push`).
    """

    def __init__(self, grants: GrantFile, leaves: bool = False):
        super().__init__(grants)
        self.leaves = leaves

    def require_write(self, path: Path) -> None:
        """Allows every path: who wrote the command consents."""
        pass

    def require_download(self, repository: str) -> None:
        """Allows every repository: who wrote the command consents."""
        pass

    def may_upload(self, repository: str, private: bool) -> bool:
        """Whether the command or the permissions allow the upload."""
        return self.leaves or super().may_upload(repository, private)

    def may_log_to(self, entity: str | None) -> bool:
        """Whether the command or the permissions allow the entity."""
        return self.leaves or super().may_log_to(entity)


@dataclass(frozen=True)
class Places:
    """Absolute paths of folders that graphs may use without asking.

    Attributes:
        written: with all in them they are read and written. Links that leave them don't count.
        models: are read. Links in them are followed: people and model managers make those.
        made: folders of our own among the models; they are read and written.
    """

    written: tuple[str, ...]
    models: tuple[str, ...]
    made: tuple[str, ...]


class Canvas(_Common):
    """The policy of ComfyUI's process, and of those that train for it."""

    def __init__(self, grants: GrantFile, places: Callable[[], Places], named: Iterable[str]):
        """
        Args:
            places: asked every time: other packs add folders of models.
            named: repositories of the Hub that this pack names itself.
        """
        super().__init__(grants)
        self.places, self.named = places, frozenset(named)

    def require_read(self, path: Path) -> None:
        """Raises `NotAllowedError` outside of ComfyUI's folders, unless it was allowed."""
        places = self.places()
        if not _is_below(_plain(path), map(_plain, places.models)):
            self._require(path, (*places.written, *places.made, *places.models), "read")

    def require_write(self, path: Path) -> None:
        """Raises `NotAllowedError` for a file or folder that may not be made."""
        places = self.places()
        self._require(path, (*places.written, *places.made), "write")

    def require_download(self, repository: str) -> None:
        """Raises `NotAllowedError` for a repository that nothing may be downloaded from."""
        if repository in self.named or repository in self.grants.read().downloads:
            return
        raise NotAllowedError(
            f"{repository}: this graph wants to download from a repository of the Hugging Face Hub "
            "that was not allowed on this machine. Allow it at the node, or with `python -m "
            f"ltxv_train_core allow --download {repository}`",
            Ask("downloads", repository),
        )

    def _require(self, path: Path, places: tuple[str, ...], what: str) -> None:
        folders = (*places, *self.grants.read().folders)
        may_be_looked_at = not is_of_network(str(path)) or _is_below(
            _plain(path), map(_plain, folders)
        )
        if may_be_looked_at and _is_below(_real(path), _real_folders(folders)):
            return
        path = Path(os.path.abspath(_expanded(path)))  # noqa: PTH100
        folder = path if may_be_looked_at and path.is_dir() else path.parent
        raise NotAllowedError(
            f"{path}: this graph wants to {what} outside of ComfyUI's folders, in {folder}, which "
            "was not allowed on this machine. Press *Allow this folder* at the node, run `python "
            f'-m ltxv_train_core allow --folder "{folder}"`, or use a path in ComfyUI\'s input '
            "folder",
            Ask("folders", str(folder)),
        )


Policy: TypeAlias = CommandLine | Canvas

_policy: Policy | None = None


def policy() -> Policy:
    """That of this process: a command line's, until `use` was called."""
    global _policy
    if _policy is None:
        _policy = CommandLine(GrantFile(default_file()))
    return _policy


def use(new: Policy | None) -> None:
    """Sets the policy of this process; None takes the command line's again."""
    global _policy
    _policy = new


def environment() -> dict[str, str]:
    """What a process that works for this one needs in its environment, to `join`."""
    mine = policy()
    value: dict[str, Any] = {"file": str(mine.grants.path)}
    if isinstance(mine, Canvas):
        value |= {"places": asdict(mine.places()), "named": sorted(mine.named)}
    else:
        value |= {"leaves": mine.leaves}
    return {POLICY_VARIABLE: json.dumps(value)}


def join() -> None:
    """Takes the policy of the process that started this one."""
    value = json.loads(os.environ[POLICY_VARIABLE])
    grants = GrantFile(Path(value["file"]))
    if "places" not in value:
        return use(CommandLine(grants, value["leaves"]))
    places = Places(**{name: tuple(paths) for name, paths in value["places"].items()})
    use(Canvas(grants, lambda: places, value["named"]))


def is_of_network(path: str, windows: bool = os.name == "nt") -> bool:
    """Whether only to look at a path makes Windows talk to another machine, with the user's name and
    a proof of the password, or to a device."""
    return windows and path.replace("/", "\\").startswith("\\\\")


def _plain(path: Path | str) -> str:
    """An absolute path without `..`, for comparison; links stay."""
    return os.path.normcase(os.path.abspath(_expanded(path)))  # noqa: PTH100


def _real(path: Path | str) -> str:
    """The path that it really has, for comparison; of what isn't there, that of its folder."""
    return os.path.normcase(os.path.realpath(_expanded(path)))


@lru_cache(maxsize=32)
def _real_folders(folders: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(map(_real, folders))


def _expanded(path: Path | str) -> Path:
    if "\0" in str(path):
        raise LTXVTrainError(f"{shown(str(path))}: no path holds a null character")
    return as_path(path)


def _is_below(path: str, folders: Iterable[str]) -> bool:
    return any(path == each or path.startswith(each.rstrip(os.sep) + os.sep) for each in folders)
