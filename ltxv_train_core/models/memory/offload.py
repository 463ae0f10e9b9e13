"""Keeps frozen block weights in host memory and copies each block to the device before it runs.

Once for the forward pass, and again for the backward pass, which recomputes an offloaded block's
activations: autograd would otherwise keep its weights on the device in between.

The device has two slots, made once: one holds the block that works, into the other the next one is copied
meanwhile. The host may be far ahead of the device, so a copy waits, on the device, for all work that was
queued before the block that works now: the block that used the slot last is part of it.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from ...errors import ConfigurationError
from ...events import Notice, Reporter, ignore
from ..device import side_stream, stream_module
from ..transformer import Transformer
from .checkpointing import ON_DEVICE, Checkpoint, Recomputed
from .host_weights import HostWeights, pin_all, pinned_memory, views


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


def offload(
    transformer: Transformer,
    device: torch.device,
    offloaded: list[int],
    report: Reporter = ignore,
    checkpoint: Checkpoint = ON_DEVICE,
) -> None:
    """Lets offloaded blocks fetch their frozen weights; their trained weights move to the device for good.

    Call it when the LoRA is in the model. Names of parameters stay as they are.
    """
    blocks = [transformer.transformer_blocks[number] for number in offloaded]
    prefetcher = _BlockPrefetcher([HostWeights(block) for block in blocks], device, report)
    checkpointed = partial(checkpoint, context_fn=prefetcher.checkpoint_contexts)
    recompute = not transformer.is_gradient_checkpointing
    if not recompute:
        transformer.enable_gradient_checkpointing(checkpointed)
    for position, block in enumerate(blocks):
        for parameter in block.parameters():
            if parameter.requires_grad:
                parameter.data = parameter.data.to(device)
        forward = _OffloadedForward(block.forward, prefetcher, position)
        block.forward = Recomputed(forward, checkpointed) if recompute else forward


class _Slot:
    """Memory on the device for the weights of one block.

    Attributes:
        position: of the block that is in it.
        filled: an event of the copy of that block; None where copying has no stream of its own.
    """

    def __init__(self, nbytes: int, device: torch.device):
        self.memory = torch.empty(nbytes, dtype=torch.uint8, device=device)
        self.staging: Tensor | None = None
        self.position: int | None = None
        self.filled: Any = None

    def copy(self, block: HostWeights, is_async: bool) -> None:
        """Copies a block's weights into the slot.

        Weights that aren't pinned go through pinned memory of the slot, where there is such.
        """
        source = block.tensors
        if self.staging is not None and not block.is_pinned:
            if self.filled is not None:
                self.filled.synchronize()  # the copy before has left the staging memory
            source = views(self.staging, source)
            for staged, tensor in zip(source, block.tensors, strict=True):
                staged.copy_(tensor)
        is_async = is_async and (block.is_pinned or self.staging is not None)
        for to, tensor in zip(views(self.memory, source), source, strict=True):
            to.copy_(tensor, non_blocking=is_async)


class _BlockPrefetcher:
    """Gives a block its weights and copies those of the next block."""

    def __init__(self, blocks: list[HostWeights], device: torch.device, report: Reporter):
        self.blocks, self.device = blocks, device
        nbytes = max(block.nbytes for block in blocks)
        self.stream = side_stream(device)
        with self._copying():  # so that no other stream gets their memory when they are dropped
            self.slots = [_Slot(nbytes, device) for _ in blocks[:2]]
        self._working = self.slots[-1]
        self._is_backward = False
        if self.stream is not None:
            self._pin(nbytes, report)

    def checkpoint_contexts(
        self,
    ) -> tuple[AbstractContextManager[Any], AbstractContextManager[Any]]:
        """For `checkpoint`: of the forward pass, and of its repetition in the backward pass, where blocks
        come from the last to the first."""
        return nullcontext(), self._backwards()

    @contextmanager
    def weights(self, position: int) -> Iterator[None]:
        """Within the block of code, the weights of an offloaded block are on the device."""
        ready = self._now()
        slot = self._slot_of(position) or self._fill(position, ready)
        self._working = slot
        if self.stream is not None:
            stream_module(self.device).current_stream(self.device).wait_event(slot.filled)
        block = self.blocks[position]
        try:
            with block.replaced_by(views(slot.memory, block.tensors)):
                yield
        finally:  # a checkpoint ends the repetition by an error, as soon as it has what it needs
            following = position + (-1 if self._is_backward else 1)
            if 0 <= following < len(self.blocks) and self._slot_of(following) is None:
                self._fill(following, ready)

    def _slot_of(self, position: int) -> _Slot | None:
        return next((slot for slot in self.slots if slot.position == position), None)

    def _fill(self, position: int, ready: Any) -> _Slot:
        """Copies a block into the slot that no block works with.

        Args:
            ready: an event after which nothing reads that slot.
        """
        slot = next((each for each in self.slots if each is not self._working), self.slots[0])
        slot.position = position
        with self._copying():
            if self.stream is not None:
                self.stream.wait_event(ready)
            slot.copy(self.blocks[position], is_async=self.stream is not None)
            if self.stream is not None:
                slot.filled = self.stream.record_event()
        return slot

    def _copying(self) -> AbstractContextManager[Any]:
        """Within the block of code, work is queued on the stream of the copies, where there is one."""
        if self.stream is None:
            return nullcontext()
        context: AbstractContextManager[Any] = stream_module(self.device).stream(self.stream)
        return context

    def _now(self) -> Any:
        """An event of all that is queued on the device by now."""
        if self.stream is None:
            return None
        return stream_module(self.device).current_stream(self.device).record_event()

    @contextmanager
    def _backwards(self) -> Iterator[None]:
        self._is_backward = True
        try:
            yield
        finally:
            self._is_backward = False

    def _pin(self, nbytes: int, report: Reporter) -> None:
        """Pins the weights, and gives the slots pinned memory for those that can't be."""
        # Before the weights take all there is.
        staging = [pinned_memory(nbytes) for _ in self.slots]
        problem = pin_all(self.blocks)
        if problem is None:
            return
        for slot, memory in zip(self.slots, staging, strict=True):
            slot.staging = memory
        count = sum(not block.is_pinned for block in self.blocks)
        report(
            Notice(
                f"acceleration.blocks_to_offload: the weights of {count} blocks stay in pageable memory "
                f"({problem}): they are copied more slowly"
            )
        )


class _OffloadedForward:
    """The forward of an offloaded block."""

    def __init__(self, forward: Callable[..., Any], prefetcher: _BlockPrefetcher, position: int):
        self._forward, self._prefetcher, self._position = forward, prefetcher, position

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        with self._prefetcher.weights(self._position):
            return self._forward(*args, **kwargs)
