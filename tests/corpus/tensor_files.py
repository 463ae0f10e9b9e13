"""Makes safetensors files of any content, well formed or not."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

SIZES = {"F32": 4, "F16": 2, "BF16": 2, "F64": 8, "I64": 8, "BOOL": 1, "U8": 1, "F8_E4M3": 1}


def entry(dtype: Any = "F32", shape: Any = (2,), start: Any = 0, end: Any = 8) -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [start, end]}


def file_of(head: bytes | str, data: bytes = b"", length: int | None = None) -> bytes:
    """A file from its head as written, with any length in front."""
    content = head if isinstance(head, bytes) else head.encode("utf-8", "surrogatepass")
    said = len(content) if length is None else length
    return said.to_bytes(8, "little") + content + data


def write_tensors(
    path: Path,
    tensors: Mapping[str, tuple[str, tuple[int, ...]]],
    metadata: Any = None,
) -> Path:
    """A well formed file of zeros: (dtype, shape) by name; its data is a hole in the file."""
    head: dict[str, Any] = {} if metadata is None else {"__metadata__": metadata}
    end = 0
    for name, (dtype, shape) in tensors.items():
        count = SIZES[dtype]
        for size in shape:
            count *= size
        head[name] = entry(dtype, list(shape), end, end + count)
        end += count
    content = file_of(json.dumps(head))
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        file.write(content)
        file.truncate(len(content) + end)
    return path
