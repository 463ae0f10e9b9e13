"""Safetensors files, written: the same tensors and metadata give the same bytes.

The library itself writes metadata in an order that changes from process to process.
"""

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import NotFiniteError, shown
from .atomic import atomic_path

if TYPE_CHECKING:
    from torch import Tensor

_BYTES = {
    **{"F64": 8, "I64": 8, "U64": 8, "C64": 8, "F32": 4, "I32": 4, "U32": 4},
    **{"F16": 2, "BF16": 2, "I16": 2, "U16": 2},
}
"""Of a number; of those that aren't here, one. The widest come first, so that all are aligned."""

_DTYPES = {
    **{"float64": "F64", "float32": "F32", "float16": "F16", "bfloat16": "BF16"},
    **{"float8_e4m3fn": "F8_E4M3", "float8_e5m2": "F8_E5M2", "bool": "BOOL", "uint8": "U8"},
    **{"int8": "I8", "int16": "I16", "int32": "I32", "int64": "I64"},
}
"""What safetensors calls torch's number formats."""


def write_safetensors(
    path: Path, tensors: Mapping[str, "Tensor"], metadata: Mapping[str, str]
) -> None:
    """Writes tensors and metadata as one safetensors file, atomically.

    Raises:
        NotFiniteError: a number is NaN or infinite; nothing is written then.
    """
    entries = [
        StoredTensor(
            name,
            _DTYPES[str(tensor.dtype).removeprefix("torch.")],
            tuple(tensor.shape),
            tensor.numel() * tensor.element_size(),
            partial(_itself, tensor),
        )
        for name, tensor in tensors.items()
    ]
    stream_safetensors(path, entries, metadata)


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
    """Writes a safetensors file tensor by tensor, atomically; one of them is in memory at a time.

    Raises:
        NotFiniteError: a number is NaN or infinite; nothing is written then.
    """
    from torch import uint8

    listed = sorted(tensors, key=lambda tensor: (-_BYTES.get(tensor.dtype, 1), tensor.name))
    head = _head(listed, metadata)
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        file.write(len(head).to_bytes(8, "little") + head)
        for tensor in listed:
            made = tensor.make().detach().cpu().contiguous().reshape(-1)
            if not is_finite(made):
                raise NotFiniteError(
                    f"{path} is not written: {shown(tensor.name)} holds NaN or infinite numbers"
                )
            content = made.view(uint8).numpy()
            assert content.nbytes == tensor.nbytes, tensor.name
            file.write(content.data)
            del made, content


def is_finite(tensor: "Tensor") -> bool:
    """Whether all numbers of a tensor are finite; takes no memory of its size, but for 8 bit floats."""
    if not tensor.numel() or not tensor.is_floating_point():
        return True
    if tensor.element_size() == 1:
        tensor = tensor.float()
    return all(bool(end.isfinite()) for end in tensor.aminmax())


def _head(tensors: list[StoredTensor], metadata: Mapping[str, str]) -> bytes:
    header: dict[str, Any] = {"__metadata__": dict(sorted(metadata.items()))}
    start = 0
    for tensor in tensors:
        ends = [start, start + tensor.nbytes]
        header[tensor.name] = {
            "dtype": tensor.dtype,
            "shape": list(tensor.shape),
            "data_offsets": ends,
        }
        start = ends[1]
    head = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode("utf-8")
    return head + b" " * (-len(head) % 8)


def _itself(tensor: "Tensor") -> "Tensor":
    return tensor
