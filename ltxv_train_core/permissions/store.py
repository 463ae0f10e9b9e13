"""Where this machine keeps what its user allowed: `allowed.json`, in ComfyUI's user folder."""

import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from filelock import FileLock

from ..errors import ConfigurationError, LTXVTrainError, shown
from ..storage.atomic import write_json
from ..storage.paths import as_path
from ..storage.reading import read_json
from .grants import GRANTS_VERSION, Grants

ALLOW_VARIABLE = "LTXV_TRAIN_ALLOW"
"""Environment variable with more folders, for servers; separated as in PATH."""

FOLDER, NAME = "__ltxv_train", "allowed.json"
"""ComfyUI gives browsers no file of a user folder whose name begins with two underscores."""


class GrantFile:
    """Grants on disk, for several programs at once."""

    def __init__(self, path: Path):
        self.path = path
        self._lock = threading.Lock()
        self._known: tuple[Any, Grants] = (None, Grants())

    def read(self) -> Grants:
        """What is allowed now, the environment's folders included; of a damaged file nothing."""
        return self._read_file() + Grants(folders=_folders_of_environment())

    def add(self, grants: Grants) -> Grants:
        """Allows more, and returns what is allowed then.

        Raises:
            ConfigurationError: a folder that can't be allowed.
            LTXVTrainError: the file is damaged or can't be written.
        """
        folders = tuple(str(require_grantable(each)) for each in grants.folders)
        added = Grants(folders, grants.downloads, grants.uploads, grants.entities)
        return self._change(lambda before: before + added)

    def remove(self, grants: Grants) -> Grants:
        """Takes back what was allowed. Raises `LTXVTrainError` as `add` does."""
        return self._change(lambda before: before - grants)

    def _change(self, change: Callable[[Grants], Grants]) -> Grants:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with FileLock(self.path.with_suffix(".lock")):
                before = self._parse() if self.path.exists() else Grants()
                write_json(self.path, {"version": GRANTS_VERSION, **change(before).to_json()})
        except OSError as error:
            raise LTXVTrainError(f"{self.path}: can't be written ({error.strerror})") from error
        return self.read()

    def _read_file(self) -> Grants:
        try:
            status = self.path.stat()
        except OSError:
            return Grants()
        stamp = (status.st_mtime_ns, status.st_size, status.st_ino)
        with self._lock:
            if self._known[0] != stamp:
                try:
                    self._known = stamp, self._parse()
                except LTXVTrainError:
                    self._known = stamp, Grants()
            return self._known[1]

    def _parse(self) -> Grants:
        try:
            value = read_json(self.path)
            if not isinstance(value, dict) or value.pop("version", None) != GRANTS_VERSION:
                raise ConfigurationError(["it is of another version"])
            return Grants.from_json(value)
        except (OSError, ValueError) as error:
            raise LTXVTrainError(
                f"{self.path}: is damaged ({error}), so nothing is allowed; mend or delete it"
            ) from error


def require_grantable(folder: str) -> Path:
    """The real path of a folder that may be allowed.

    Raises:
        ConfigurationError: it is no folder, or a whole drive.
    """
    path = as_path(folder)
    try:
        real = Path(os.path.realpath(path))
        is_folder = path.is_absolute() and real.is_dir()
    except (OSError, ValueError):
        is_folder = False
    if not is_folder:
        raise ConfigurationError([f"folder {shown(folder, 300)}: there is no such folder"])
    if real == Path(real.anchor):
        raise ConfigurationError(
            [f"folder {real}: is a whole drive; allow the folder that is needed"]
        )
    return real


def default_file(comfyui: Path | None = None) -> Path:
    """The file of this machine.

    Args:
        comfyui: ComfyUI's base folder; by default that of the custom_nodes that this pack lies in,
            and where it lies elsewhere, the file is in the user's home.
    """
    pack = Path(__file__).absolute().parents[2]
    if comfyui is None and pack.parent.name == "custom_nodes":
        comfyui = pack.parent.parent
    folder = Path.home() / ".ltxv_train" if comfyui is None else comfyui / "user" / FOLDER
    return folder / NAME


def _folders_of_environment() -> tuple[str, ...]:
    parts = os.environ.get(ALLOW_VARIABLE, "").split(os.pathsep)
    return tuple(os.path.realpath(as_path(part)) for part in parts if part.strip())
