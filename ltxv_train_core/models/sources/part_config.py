"""The json files in a model's folder, which libraries would follow wherever they lead."""

from pathlib import Path
from typing import Any

from ...errors import ModelError, cut, shown
from ...formats.tensors import LARGEST_SIZE, MOST_LAYERS
from ...storage.reading import is_regular, read_json

LARGEST_CONFIG_BYTES = 2**20
_LARGEST_INDEX_BYTES = 16 * 2**20
_LONGEST_LIST = 100


def part_config(folder: Path) -> dict[str, Any]:
    """The configuration of a part, with sizes that a model may have.

    Raises:
        ModelError: it can't be read, or modules of its sizes would fill the memory.
    """
    path = folder / "config.json"
    config = _read(path, LARGEST_CONFIG_BYTES)
    for name, value in config.items():
        values = value if isinstance(value, list) else [value]
        largest = MOST_LAYERS if "layers" in name else LARGEST_SIZE
        too_large = any(isinstance(one, int | float) and not abs(one) <= largest for one in values)
        if too_large or len(values) > _LONGEST_LIST:
            raise ModelError(f"{path}: {cut(name)} {shown(value)} is beyond every model")
    return config


def require_shards(folder: Path) -> None:
    """Raises `ModelError` where the weights' index names a file that is missing, or not in the
    folder."""
    for path in sorted(folder.glob("*.index.json")):
        if path.name == "model_index.json":
            continue
        for name in shards(path):
            if not is_regular(folder / name):
                raise ModelError(f"{folder}: {name} of {path.name} is missing; download it again")


def shards(path: Path) -> list[str]:
    """The files that an index of weights names.

    Raises:
        ModelError: it can't be read, or names something else than files beside it.
    """
    found = _read(path, _LARGEST_INDEX_BYTES).get("weight_map", {})
    names = set(found.values()) if isinstance(found, dict) and _are_texts(found) else {""}
    for name in sorted(names):
        if not name or name != Path(name).name or "\\" in name or "\0" in name:
            raise ModelError(f"{path}: weight_map: expected names of files, found {shown(name)}")
    return sorted(names)


def _are_texts(found: dict[str, Any]) -> bool:
    return all(isinstance(name, str) for name in found.values())


def _read(path: Path, largest_bytes: int) -> dict[str, Any]:
    try:
        value = read_json(path, largest_bytes)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise ModelError(f"{path}: can't be read ({cut(reason, 200)})") from error
    if not isinstance(value, dict):
        raise ModelError(f"{path}: expected an object, found {type(value).__name__}")
    return value
