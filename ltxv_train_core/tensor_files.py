"""Safetensors files, written."""

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .files import atomic_path


def write_safetensors(path: Path, tensors: dict[str, Any], metadata: dict[str, str]) -> None:
    """Writes tensors and metadata as one safetensors file, atomically.

    The file can be read by whom the system lets read new files; the library alone would make it
    private.
    """
    from safetensors.torch import save_file

    with atomic_path(path) as temporary:
        temporary.touch()
        mode = temporary.stat().st_mode
        save_file({k: v.contiguous() for k, v in tensors.items()}, str(temporary), metadata)
        temporary.chmod(mode)


@dataclass(frozen=True)
class StoredTensor:
    """A tensor to be written, made only when its turn comes.

    Attributes:
        dtype: as safetensors calls it, for example "BF16".
        nbytes: its size in the file.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    nbytes: int
    make: Callable[[], Any]


def stream_safetensors(
    path: Path, tensors: Iterable[StoredTensor], metadata: Mapping[str, str]
) -> None:
    """Writes a safetensors file tensor by tensor, atomically; one of them is in memory at a time."""
    from torch import uint8

    listed = list(tensors)
    header: dict[str, Any] = {"__metadata__": dict(metadata)}
    start = 0
    for tensor in listed:
        ends = [start, start + tensor.nbytes]
        header[tensor.name] = {
            "dtype": tensor.dtype,
            "shape": list(tensor.shape),
            "data_offsets": ends,
        }
        start = ends[1]
    head = json.dumps(header, ensure_ascii=False).encode("utf-8")
    head += b" " * (-len(head) % 8)
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        file.write(len(head).to_bytes(8, "little") + head)
        for tensor in listed:
            content = tensor.make().contiguous().reshape(-1).view(uint8).numpy()
            assert content.nbytes == tensor.nbytes, tensor.name
            file.write(content.data)
            del content
