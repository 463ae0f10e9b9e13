"""Names what is in the VAE or the text encoder of a model, in whichever layout and file it lies."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from ...errors import ModelError
from ...storage.safetensors_header import SAMPLE_BYTES, content_of, read_header

if TYPE_CHECKING:
    from torch import Tensor


_NAMES = {"torch.float32": "F32", "torch.float16": "F16", "torch.bfloat16": "BF16"}


def content_of_folder(folder: Path) -> str | None:
    """That of the weights in a folder, in one file or several; None where there are none to read."""
    try:
        headers = [read_header(path) for path in sorted(folder.glob("*.safetensors"))]
    except ModelError:
        return None  # reported where it is loaded
    samples = {sample for header in headers for sample in header.samples("")}
    return content_of(samples) if samples else None


def content_of_state(state: Mapping[str, Tensor]) -> str:
    """That of weights in memory, as a file of them would have it."""
    return content_of({_sample(each) for each in state.values() if each.ndim > 1})


def _sample(tensor: Tensor) -> bytes:
    import torch

    content = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy()
    start = max(0, (len(content) - SAMPLE_BYTES) // 2)
    head = f"{_NAMES[str(tensor.dtype)]} {tuple(tensor.shape)}".encode()
    return head + content[start : start + SAMPLE_BYTES].tobytes()
