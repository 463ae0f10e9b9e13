"""Frozen weights of blocks in host memory.

They stay where loading put them, often mapped from the model's file, until they are pinned: a device copies
pinned memory by itself, while the host and the device do other things. Pinned memory can't be swapped or
dropped, so some of the host's is left alone; what isn't pinned goes through a small part that is.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import psutil
import torch
from torch import Tensor, nn

from ...units import byte_size

SHARE_LEFT = 4
"""One part in so many of the host's memory isn't pinned."""

_ALIGNMENT_BYTES = 256
"""As an allocator of a GPU aligns: kernels that read several numbers at once rely on it."""


class HostWeights:
    """The frozen weights of a block.

    Attributes:
        nbytes: that `views` of them take.
        is_pinned: all of them.
    """

    def __init__(self, block: nn.Module):
        self._entries: list[tuple[dict[str, Any], str, Tensor]] = [
            (named, name, tensor)
            for module in block.modules()
            for named in (module._parameters, module._buffers)
            for name, tensor in named.items()
            if tensor is not None and not tensor.requires_grad
        ]
        self.nbytes = sum(_aligned(tensor.nbytes) for tensor in self.tensors)
        self.is_pinned = False

    @property
    def tensors(self) -> list[Tensor]:
        return [tensor.detach() for _, _, tensor in self._entries]

    def pin(self) -> None:
        """Moves them to pinned memory. Raises `RuntimeError` where there is not enough of it."""
        for _, _, tensor in self._entries:
            tensor.data = tensor.data.pin_memory()
        self.is_pinned = True

    @contextmanager
    def replaced_by(self, tensors: list[Tensor]) -> Iterator[None]:
        """Within the block of code, the module's weights are these."""
        for (named, name, _), tensor in zip(self._entries, tensors, strict=True):
            named[name] = tensor
        try:
            yield
        finally:
            for named, name, original in self._entries:
                named[name] = original


def views(memory: Tensor, like: Sequence[Tensor]) -> list[Tensor]:
    """Tensors of the shapes and number formats of others, one after another in a tensor of bytes."""
    found, begin = [], 0
    for tensor in like:
        part = memory[begin : begin + tensor.nbytes]
        found.append(part.view(tensor.dtype).view(tensor.shape))
        begin += _aligned(tensor.nbytes)
    return found


def pin_all(blocks: Sequence[HostWeights]) -> str | None:
    """Pins the weights of as many blocks as the host has memory for; why not of all, where it hasn't."""
    for block in blocks:
        memory = psutil.virtual_memory()
        if memory.available - block.nbytes < memory.total // SHARE_LEFT:
            return f"of the computer's memory {byte_size(memory.available)} are free"
        try:
            block.pin()
        except RuntimeError as error:
            return f"pinning more failed: {str(error).splitlines()[0]}"
    return None


def pinned_memory(nbytes: int) -> Tensor | None:
    """Pinned bytes; None where there are no more."""
    try:
        return torch.empty(nbytes, dtype=torch.uint8).pin_memory()
    except RuntimeError:
        return None


def _aligned(nbytes: int) -> int:
    return -(-nbytes // _ALIGNMENT_BYTES) * _ALIGNMENT_BYTES
