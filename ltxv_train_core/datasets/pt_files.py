"""Files that torch.save has written, of other trainers' data sets: dictionaries of tensors and numbers. No code in
a file is run."""

import zipfile
from pathlib import Path
from typing import Any

from torch import Tensor

from ..errors import DataError, cut, shown
from ..permissions import policy
from ..storage.atomic import sha256_json
from ..storage.torch_files import read_torch_file, require_stored

SUFFIX = ".pt"
# LTX-Video-Trainer assumes it where a file says none.
DEFAULT_FPS = 24.0
LARGEST_COUNT = 100_000


def content_of_pt(path: Path) -> str:
    """Changes with what is in a file. The checksums that it carries itself spare reading it all."""
    try:
        with zipfile.ZipFile(path) as archive:
            # The first folder in the archive is called after the file.
            parts = [(i.filename.partition("/")[2], i.file_size, i.CRC) for i in archive.infolist()]
    except (OSError, zipfile.BadZipFile) as error:
        raise _unreadable(path, error) from error
    return sha256_json(sorted(part for part in parts if part[0].startswith("data")))


def load_pt(path: Path) -> dict[str, Any]:
    """The dictionary in a file; tensors in it are mapped, not read. No code in a file is run."""
    policy().require_read(path)  # it may be a link
    try:
        data = read_torch_file(path, mmap=True)
    except (OSError, RuntimeError, ValueError) as error:
        raise _unreadable(path, error) from error
    if not isinstance(data, dict):
        raise DataError(f"{path}: expected a dictionary, found {type(data).__name__}")
    return data


def _unreadable(path: Path, error: Exception) -> DataError:
    reason = cut(str(error).partition("\n")[0], 200) or type(error).__name__
    return DataError(f"{path}: can't be read as a .pt file of tensors ({reason})")


def floats_of(path: Path, data: dict[str, Any], name: str) -> Tensor:
    """Floats of two or more dimensions, none of them empty."""
    tensor: Tensor = entry_of(path, data, name, Tensor)
    if not tensor.is_floating_point() or tensor.ndim < 2 or tensor.numel() == 0:
        raise DataError(
            f"{path}: {name} is {tensor.dtype} of shape {cut(str(list(tensor.shape)))}, expected floats "
            "[tokens, channels]"
        )
    return tensor


def count_of(path: Path, data: dict[str, Any], name: str) -> int:
    value = _number(entry_of(path, data, name, (int, float, Tensor)))
    if value is None or not 1 <= value <= LARGEST_COUNT:
        raise DataError(f"{path}: {name} is no count from 1 to {LARGEST_COUNT:,}")
    return int(value)


def fps_of(path: Path, data: dict[str, Any]) -> float:
    if data.get("fps") is None:
        return DEFAULT_FPS
    value = _number(entry_of(path, data, "fps", (int, float, Tensor)))
    if value is None or not 0 <= value <= LARGEST_COUNT:
        raise DataError(f"{path}: fps is no rate above 0 and up to {LARGEST_COUNT:,}")
    return float(value) or DEFAULT_FPS


def _number(value: float | Tensor) -> float | None:
    """A number, or a tensor of one; None where it is none."""
    if isinstance(value, Tensor):
        if value.numel() != 1 or value.is_complex():
            return None
        value = value.item()
    return value


def entry_of(path: Path, data: dict[str, Any], name: str, kind: Any) -> Any:
    value = data.get(name)
    if not isinstance(value, kind):
        found = cut(", ".join(shown(key, 40) for key in data), 200)
        raise DataError(f"{path}: has no {name!r}; it has {found or 'nothing'}")
    if isinstance(value, Tensor):
        try:
            require_stored(path, value)
        except ValueError as error:
            raise DataError(f"{path}: {name}: {error}") from error
    return value
