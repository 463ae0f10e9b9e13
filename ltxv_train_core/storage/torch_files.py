"""What `torch.save` has written, read from files that anybody may have made.

No code in a file is run. What it says of sizes is compared with its own size before memory is taken.
"""

import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .reading import open_regular

if TYPE_CHECKING:
    from torch import Tensor

LARGEST_PICKLE_BYTES = 4 * 2**20
"""Of the part that names tensors and holds plain values; 13B with all its weights needs 2 MiB."""

# The list at the end of a zip is read as a whole.
_MOST_PARTS = 100_000


def read_torch_file(path: Path, mmap: bool = False) -> Any:
    """Tensors and plain values, on the CPU.

    Args:
        mmap: tensors are mapped to the file. Whoever uses one compares it with `require_stored`.

    Raises:
        OSError, RuntimeError: it can't be read.
        ValueError: it is damaged, or has more in it than tensors and plain values.
    """
    import torch

    wrong = f"{path.name} is damaged, or has more in it than tensors and plain values"
    _require_parts(path)
    try:
        # Mapped, since reading part by part torch takes a part's size from what the pickle says.
        value = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
        return value if mmap else _Copies(path).of(value)
    except Exception as error:
        # torch's words say how to run the code in it.
        is_told = isinstance(error, OSError | RuntimeError | MemoryError)
        if is_told and not isinstance(error, RecursionError) and "weights_only" not in str(error):
            raise
        raise ValueError(wrong) from None


def write_torch_file(path: Path, value: object) -> None:
    """Writes what `read_torch_file` reads, not atomically.

    Raises:
        OSError: as the system does. torch ends with an error of its own where a disk is full in the
            middle of a file.
    """
    import torch

    try:
        with path.open("wb") as file:
            torch.save(value, file)
    except RuntimeError as error:
        cause: BaseException | None = error
        while cause is not None and not isinstance(cause, OSError):
            cause = cause.__cause__ or cause.__context__
        if cause is None:
            raise
        raise cause from error


def require_stored(path: Path, tensor: "Tensor") -> None:
    """Raises `ValueError` for a tensor that is none of plain numbers, or says to be larger than its
    file."""
    import torch

    plain = tensor.layout == torch.strided and tensor.device.type == "cpu"
    if not plain or tensor.is_quantized:
        raise ValueError(f"{path.name} has a tensor in it that isn't stored as plain numbers")
    if tensor.numel() * tensor.element_size() > path.stat().st_size:
        raise ValueError(f"{path.name} has a tensor in it that is larger than the file")


def _require_parts(path: Path) -> None:
    with open_regular(path) as file:
        try:
            with zipfile.ZipFile(file) as archive:
                parts = archive.infolist()
        except Exception:
            raise ValueError(f"{path.name} is no file of torch.save, or a damaged one") from None
        size = file.seek(0, 2)
    pickles = sum(part.file_size for part in parts if part.filename.endswith(".pkl"))
    if len(parts) > _MOST_PARTS or pickles > LARGEST_PICKLE_BYTES:
        raise ValueError(f"{path.name} names more tensors and values than are read")
    packed = any(part.compress_type != zipfile.ZIP_STORED for part in parts)
    if packed or sum(part.file_size for part in parts) > size:
        raise ValueError(f"{path.name} is packed, or says to be larger than it is")


class _Copies:
    """Values out of a mapped file, with tensors of their own; together no larger than the file."""

    def __init__(self, path: Path):
        self.path, self._left = path, path.stat().st_size
        self._known: dict[int, Any] = {}

    def of(self, value: Any) -> Any:
        import torch

        if id(value) in self._known:
            return self._known[id(value)]
        if isinstance(value, torch.Tensor):
            require_stored(self.path, value)
            self._left -= value.numel() * value.element_size()
            if self._left < 0:
                raise ValueError("tensors that lie one over the other")
            copy: Any = value.clone()
        elif isinstance(value, dict):
            copy = {key: self.of(one) for key, one in value.items()}
        elif isinstance(value, list | tuple):
            copy = type(value)(map(self.of, value))
        else:
            copy = value
        self._known[id(value)] = copy
        return copy
