"""The head of a safetensors file: names, shapes, number formats and metadata, without the weights."""

import hashlib
import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from ..errors import ModelError, cut, shown
from .foreign_files import LONGEST_SIGN, foreign_file
from .reading import open_regular, parse_json

# The format allows 100 MB; a 22B model with quantization has some hundred KB.
LONGEST_HEAD_BYTES = 16 * 2**20
MOST_TENSORS = 100_000
LONGEST_NAME = 500
_LARGEST = 2**63
SAMPLE_BYTES = 256
_BITS = {
    **dict.fromkeys(("F4",), 4),
    **dict.fromkeys(("F6_E2M3", "F6_E3M2"), 6),
    **dict.fromkeys(("BOOL", "U8", "I8", "F8_E4M3", "F8_E5M2", "F8_E8M0"), 8),
    **dict.fromkeys(("F8_E4M3FNUZ", "F8_E5M2FNUZ"), 8),
    **dict.fromkeys(("I16", "U16", "F16", "BF16"), 16),
    **dict.fromkeys(("I32", "U32", "F32"), 32),
    **dict.fromkeys(("I64", "U64", "F64", "C64"), 64),
}


@dataclass(frozen=True)
class TensorInfo:
    """One tensor of a file.

    Attributes:
        dtype: as safetensors calls it, for example "BF16" or "F8_E4M3".
        start, end: where its bytes lie in the file.
    """

    dtype: str
    shape: tuple[int, ...]
    start: int
    end: int

    @property
    def elements(self) -> int:
        """Number of elements; 1 for a scalar."""
        return math.prod(self.shape)


@dataclass(frozen=True)
class Header:
    """What a file says of itself, and its size in bytes."""

    path: Path
    tensors: dict[str, TensorInfo]
    metadata: dict[str, str]
    size_bytes: int

    def below(self, prefix: str) -> dict[str, TensorInfo]:
        """Tensors whose names begin with `prefix`, by the rest of their names."""
        return {k[len(prefix) :]: v for k, v in self.tensors.items() if k.startswith(prefix)}

    @property
    def config(self) -> dict[str, Any]:
        """The metadata `config` of LTX-Video's files; empty where there is none."""
        try:
            value = parse_json(self.metadata.get("config", "{}"))
        except ValueError:
            return {}
        return value if isinstance(value, dict) else {}

    def identity(self) -> str:
        """Names the content: from the head and 256 bytes out of the middle of every tensor.

        A changed tensor differs there too, and a file of 30 GB need not be read whole. Name, time
        and metadata of the file don't count.
        """
        digest = hashlib.sha256()
        with open_regular(self.path) as file:
            for name, tensor in sorted(self.tensors.items(), key=lambda item: item[1].start):
                digest.update(f"{name} {tensor.dtype} {tensor.shape}".encode())
                digest.update(_sample(file, tensor))
        return digest.hexdigest()[:32]

    def samples(self, prefix: str) -> set[bytes]:
        """What stands for each tensor of two dimensions or more below a prefix, whatever it is called:
        number format, shape and 256 bytes out of its middle."""
        with open_regular(self.path) as file:
            return {
                f"{tensor.dtype} {tensor.shape}".encode() + _sample(file, tensor)
                for tensor in self.below(prefix).values()
                if len(tensor.shape) > 1
            }


def content_of(samples: Iterable[bytes]) -> str:
    """Names weights by the samples of their tensors: the same in every layout and file, one or
    several."""
    digest = hashlib.sha256()
    for each in sorted(samples):
        digest.update(hashlib.sha256(each).digest())
    return digest.hexdigest()[:32]


def _sample(file: BinaryIO, tensor: TensorInfo) -> bytes:
    file.seek(max(tensor.start, (tensor.start + tensor.end - SAMPLE_BYTES) // 2))
    return file.read(min(SAMPLE_BYTES, tensor.end - tensor.start))


def read_header(path: Path) -> Header:
    """Reads a file's head and compares it with the file's length.

    Raises:
        ModelError: if it is no safetensors file, or a part of it is missing or contradicts another.
    """
    try:
        with open_regular(path) as file:
            size = file.seek(0, 2)
            file.seek(0)
            start = file.read(LONGEST_SIGN)
            length = int.from_bytes(start[:8], "little")
            file.seek(8)
            if not 2 <= length <= min(LONGEST_HEAD_BYTES, size - 8):
                what = foreign_file(start)
                raise ModelError(
                    f"{path}: is no safetensors file, "
                    + (f"but {what}" if what else f"or only the beginning of one ({size} bytes)")
                )
            head = parse_json(file.read(length).decode("utf-8"))
    except OSError as error:
        raise ModelError(f"{path}: can't be read ({error.strerror or error})") from error
    except UnicodeDecodeError as error:
        raise _damaged(path, "its head is no UTF-8") from error
    except ModelError:
        raise
    except ValueError as error:
        raise _damaged(path, cut(str(error))) from error
    try:
        if not isinstance(head, dict):
            raise ValueError("its head is no object")
        metadata = _metadata(head.pop("__metadata__", None))
        if len(head) > MOST_TENSORS:
            raise ValueError(f"more than {MOST_TENSORS:,} tensors")
        tensors = {name: _tensor(name, entry, 8 + length) for name, entry in head.items()}
        wanted = _require_gapless(tensors, 8 + length)
    except ValueError as error:
        raise _damaged(path, str(error)) from error
    if size != wanted:
        raise ModelError(
            f"{path}: is damaged: it has {size:,} bytes and its head names {wanted:,}"
            + (". Download or copy it again" if size < wanted else "")
        )
    return Header(path, tensors, metadata, size)


def _metadata(value: Any) -> dict[str, str]:
    if value is None:
        return {}
    if not isinstance(value, dict) or not all(isinstance(text, str) for text in value.values()):
        raise ValueError("its metadata are not texts by name")
    for text in (*value, *value.values()):
        text.encode("utf-8")  # a UnicodeEncodeError is a ValueError
    return value


def _tensor(name: str, entry: Any, data: int) -> TensorInfo:
    """What the head says of a tensor; `data` is where the tensors' bytes begin in the file."""
    name.encode("utf-8")
    if len(name) > LONGEST_NAME:
        raise ValueError(f"the name {shown(name)} has more than {LONGEST_NAME} letters")
    where = f"tensor {shown(name)}"
    if not isinstance(entry, dict):
        raise ValueError(f"{where} is no object")
    dtype: Any = entry.get("dtype")
    shape: Any = entry.get("shape")
    offsets: Any = entry.get("data_offsets")
    if not isinstance(dtype, str) or dtype not in _BITS:
        raise ValueError(f"{where} has the unknown number format {shown(dtype)}")
    if not _are_sizes(shape):
        raise ValueError(f"{where} has a shape that is none")
    if not _are_sizes(offsets) or len(offsets) != 2:
        raise ValueError(f"{where} has no two data_offsets")
    info = TensorInfo(dtype, tuple(shape), data + offsets[0], data + offsets[1])
    if info.elements * _BITS[dtype] != 8 * (info.end - info.start):
        raise ValueError(
            f"{where} is {dtype} of the shape {cut(str(list(info.shape)))} and has "
            f"{info.end - info.start:,} bytes"
        )
    return info


def _are_sizes(value: Any) -> bool:
    return (
        isinstance(value, list)
        and len(value) <= 16
        and all(type(size) is int and 0 <= size < _LARGEST for size in value)
    )


def _require_gapless(tensors: dict[str, TensorInfo], data: int) -> int:
    """Returns where the last tensor ends. Raises `ValueError` where two overlap or leave a gap."""
    end = data
    for name, info in sorted(tensors.items(), key=lambda item: (item[1].start, item[1].end)):
        if info.start != end:
            raise ValueError(f"tensor {shown(name)} does not begin where the one before it ends")
        end = info.end
    return end


def _damaged(path: Path, reason: str) -> ModelError:
    return ModelError(f"{path}: is no safetensors file, or a damaged one ({reason})")
