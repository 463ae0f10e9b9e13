"""The head of a safetensors file: names, shapes, number formats and metadata, without the weights."""

import hashlib
import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import ModelError

_LONGEST_HEAD_BYTES = 100_000_000
_SAMPLE_BYTES = 256


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
            value = json.loads(self.metadata.get("config", "{}"))
        except json.JSONDecodeError:
            return {}
        return value if isinstance(value, dict) else {}

    def identity(self) -> str:
        """Names the content: from the head and 256 bytes out of the middle of every tensor.

        A changed tensor differs there too, and a file of 30 GB need not be read whole. Name, time
        and metadata of the file don't count.
        """
        digest = hashlib.sha256()
        with self.path.open("rb") as file:
            for name, tensor in sorted(self.tensors.items(), key=lambda item: item[1].start):
                digest.update(f"{name} {tensor.dtype} {tensor.shape}".encode())
                file.seek(max(tensor.start, (tensor.start + tensor.end - _SAMPLE_BYTES) // 2))
                digest.update(file.read(min(_SAMPLE_BYTES, tensor.end - tensor.start)))
        return digest.hexdigest()[:32]


def read_header(path: Path) -> Header:
    """Reads a file's head and compares it with the file's length.

    Raises:
        ModelError: if it is no safetensors file, or a part of it is missing.
    """
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if not 2 <= length <= min(_LONGEST_HEAD_BYTES, size - 8):
                raise ModelError(
                    f"{path}: is no safetensors file, or only the beginning of one ({size} bytes)"
                )
            head = json.loads(file.read(length))
    except OSError as error:
        raise ModelError(f"{path}: can't be read ({error})") from error
    except ValueError as error:
        raise error if isinstance(error, ModelError) else _damaged(path, error) from error
    metadata = head.pop("__metadata__", None) or {}
    try:
        tensors = {
            name: TensorInfo(
                entry["dtype"],
                tuple(entry["shape"]),
                *(8 + length + offset for offset in entry["data_offsets"]),
            )
            for name, entry in head.items()
        }
    except (KeyError, TypeError, AttributeError) as error:
        raise _damaged(path, error) from error
    wanted = max((tensor.end for tensor in tensors.values()), default=8 + length)
    if size != wanted:
        raise ModelError(
            f"{path}: is damaged: it has {size:,} bytes and its head names {wanted:,}"
            + (". Download or copy it again" if size < wanted else "")
        )
    return Header(path, tensors, metadata, size)


def _damaged(path: Path, error: Exception) -> ModelError:
    return ModelError(f"{path}: is no safetensors file, or a damaged one ({error})")
