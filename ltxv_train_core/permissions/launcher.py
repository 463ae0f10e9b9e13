"""How this machine starts several processes for one run, where its user says: `launcher.json` beside
`allowed.json`. A graph or a configuration never names a program."""

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ..errors import ConfigurationError
from ..storage.reading import read_text
from .policy import policy

_FILE_NAME = "launcher.json"
LOCAL = "127.0.0.1"


class LauncherProfile(BaseModel):
    """
    Attributes:
        command: the launcher with its options, such as accelerate with a configuration file, or srun with
            torchrun. `{processes}` stands for the number of processes. The worker and its run follow.
        host: this machine's address for the first process, where that may run on another one.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    command: tuple[str, ...] = Field(min_length=1)
    host: str = LOCAL

    def words(self, processes: int) -> list[str]:
        """The launcher's command for so many processes."""
        return [word.replace("{processes}", str(processes)) for word in self.command]


def launcher_profile() -> LauncherProfile | None:
    """What this machine's user has written, if anything.

    Raises:
        ConfigurationError: the file can't be read, or says something else.
    """
    path = policy().grants.path.with_name(_FILE_NAME)
    if not path.exists():
        return None
    try:
        return LauncherProfile.model_validate_json(read_text(path))
    except (OSError, ValueError) as error:
        raise ConfigurationError([f"{path}: {_reason(path, error)}"]) from None


def _reason(path: Path, error: Exception) -> str:
    if not isinstance(error, ValidationError):
        return f"can't be read ({error})"
    first = error.errors()[0]
    where = ".".join(map(str, first["loc"])) or "the file"
    return (
        f"{where}: {first['msg']}; expected an object with `command`, the words of a launcher, "
        "and maybe `host`"
    )
