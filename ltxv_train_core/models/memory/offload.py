"""Keeps frozen block weights in host memory and copies each block to the device before it runs.

Once for the forward pass, and again for the backward pass, which recomputes an offloaded block's
activations: autograd would otherwise keep its weights on the device in between. While one block
works, the next one is copied, so the device holds at most two offloaded blocks.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from ...errors import ConfigurationError
from ..transformer import Transformer
from .quantize import plain_tensors


def spread_blocks(blocks: int, count: int) -> list[int]:
    """Which `count` of the blocks are offloaded: far from each other, so that copying one has the
    time that those between take.

    Raises:
        ConfigurationError: the model has fewer blocks.
    """
    if count > blocks:
        raise ConfigurationError(
            [f"acceleration.blocks_to_offload: {count}, and the model has {blocks} blocks"]
        )
    return [number * blocks // count for number in range(count)]


def place_blocks(transformer: Transformer, device: torch.device, offloaded: list[int]) -> None:
    """Moves the model to a device, all but the offloaded blocks."""
    blocks = transformer.transformer_blocks
    kept = {number: blocks[number] for number in offloaded}
    for number in offloaded:
        blocks[number] = nn.Identity()
    transformer.to(device)
    for number, block in kept.items():
        blocks[number] = block


def offload(transformer: Transformer, device: torch.device, offloaded: list[int]) -> None:
    """Lets offloaded blocks fetch their frozen weights; their trained weights move to the device for good.

    Call it when the LoRA is in the model. Names of parameters stay as they are.
    """
    recompute = not transformer.is_gradient_checkpointing
    waiting = [_HostWeights(transformer.transformer_blocks[number]) for number in offloaded]
    prefetcher = _BlockPreprefetcher(waiting, device)
    for position, number in enumerate(offloaded):
        block = transformer.transformer_blocks[number]
        for parameter in block.parameters():
            if parameter.requires_grad:
                parameter.data = parameter.data.to(device)
        block.forward = _OffloadedForward(block.forward, prefetcher, position, recompute)


class _HostWeights:
    """The frozen weights of a block, in host memory; pinned where that makes copying faster."""

    def __init__(self, block: nn.Module):
        self.entries: list[tuple[dict[str, Any], str, Tensor]] = [
            (named, name, tensor)
            for module in block.modules()
            for named in (module._parameters, module._buffers)
            for name, tensor in named.items()
            if tensor is not None and not tensor.requires_grad
        ]
        if torch.cuda.is_available():
            for _, _, tensor in self.entries:
                if type(tensor.data) is Tensor:  # quantized ones can't be pinned
                    tensor.data = tensor.data.pin_memory()

    def copied_to(self, device: torch.device) -> list[Tensor]:
        """Copies, on a CPU too: there it saves nothing and shows that it works."""
        return [t.detach().to(device, non_blocking=True, copy=True) for _, _, t in self.entries]

    @contextmanager
    def replaced_by(self, tensors: list[Tensor]) -> Iterator[None]:
        """Within the block of code, the module's weights are these."""
        for (named, name, _), tensor in zip(self.entries, tensors, strict=True):
            named[name] = tensor
        try:
            yield
        finally:
            for named, name, original in self.entries:
                named[name] = original


class _BlockPreprefetcher:
    """Gives a block its weights and starts the copy of those of the next block."""

    def __init__(self, blocks: list[_HostWeights], device: torch.device):
        self.blocks, self.device = blocks, device
        self.stream = torch.cuda.Stream(device) if device.type == "cuda" else None
        self._ahead: dict[int, list[Tensor]] = {}

    @contextmanager
    def weights(self, position: int, forwards: bool) -> Iterator[None]:
        """Within the block of code, the weights of an offloaded block are on the device.

        Args:
            forwards: whether the blocks are passed from the first to the last.
        """
        tensors = self._ahead.pop(position, None)
        self._ahead.clear()
        if tensors is None:
            tensors = self._copies(position)
        self._wait_for(tensors)
        following = position + (1 if forwards else -1)
        if 0 <= following < len(self.blocks):
            self._ahead[following] = self._copies(following)
        with self.blocks[position].replaced_by(tensors):
            yield

    def _copies(self, position: int) -> list[Tensor]:
        if self.stream is None:
            return self.blocks[position].copied_to(self.device)
        with torch.cuda.stream(self.stream):
            return self.blocks[position].copied_to(self.device)

    def _wait_for(self, tensors: list[Tensor]) -> None:
        if self.stream is None:
            return
        current = torch.cuda.current_stream(self.device)
        current.wait_stream(self.stream)
        for tensor in tensors:
            for plain in plain_tensors(tensor):
                plain.record_stream(current)


class _OffloadedForward:
    """The forward of an offloaded block."""

    def __init__(
        self,
        forward: Callable[..., Tensor],
        prefetcher: _BlockPreprefetcher,
        position: int,
        recompute: bool,
    ):
        self._forward, self._prefetcher, self._position = forward, prefetcher, position
        self._recompute = recompute

    def __call__(self, *args: Any, **kwargs: Any) -> Tensor:
        if self._recompute and torch.is_grad_enabled():
            result: Tensor = checkpoint(self._with_weights, *args, use_reentrant=False, **kwargs)
            return result
        return self._with_weights(*args, **kwargs)

    def _with_weights(self, *args: Any, **kwargs: Any) -> Tensor:
        # A graph task runs when a checkpoint recomputes activations in the backward pass.
        forwards = torch._C._current_graph_task_id() == -1
        with self._prefetcher.weights(self._position, forwards):
            return self._forward(*args, **kwargs)
