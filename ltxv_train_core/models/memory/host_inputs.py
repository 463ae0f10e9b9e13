"""Inputs of recomputed blocks in memory of the host: with checkpointing they are what a step keeps of most blocks.

A block's input goes to pinned memory while the block runs, and comes back while the block behind it goes backward.
The device holds those of two blocks, and what is shared by all of them.
"""

import weakref
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from ...events import Notice, Reporter
from ..device import side_stream, stream_module
from .host_weights import pinned_memory, views

HELD_ON_DEVICE = 3
"""Blocks whose inputs are on the device at a time: that of the one which works, what comes or goes, and the first
one's, where nothing is trained before it."""


class HostInputs:
    """`checkpoint` of torch, for functions whose inputs wait in memory of the host until they go backward."""

    def __init__(self, device: torch.device, report: Reporter):
        self._device, self._report = device, report
        self._stream = side_stream(device)
        self._module = stream_module(device)
        self._spare: list[Tensor] = []
        self._shared: set[int] = set()
        self._leaving: _BlockInputs | None = None
        self._arriving: _BlockInputs | None = None
        self._is_told = False

    def __call__(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        tensors = [each for each in args if isinstance(each, Tensor) and each.requires_grad]
        own = {_place(each) for each in tensors} - self._shared
        self._shared = {_place(each) for each in tensors}
        before, self._leaving = self._leaving, _BlockInputs(own)
        if before is not None:
            self._leaving.before = weakref.ref(before)
            self._wait(before)
            before.on_device.clear()  # they are on the host now
        pack = partial(self._pack, self._leaving)
        with torch.autograd.graph.saved_tensors_hooks(pack, self._unpack):
            return checkpoint(function, *args, use_reentrant=False, **kwargs)

    def _pack(self, inputs: "_BlockInputs", tensor: Tensor) -> Any:
        """Of what `checkpoint` saves, which are the function's arguments."""
        if _place(tensor) not in inputs.own or (memory := self._memory(tensor.nbytes)) is None:
            return tensor
        position = len(inputs.on_host)
        (host,) = views(memory, [tensor])
        inputs.memory.append(memory)
        inputs.on_host.append(host)
        inputs.on_device[position] = tensor.detach()
        self._copy(inputs, [(host, tensor.detach())])
        return inputs, position

    def _unpack(self, packed: Any) -> Tensor:
        if isinstance(packed, Tensor):
            return packed
        inputs, position = packed
        if position not in inputs.on_device:
            self._fetch(inputs)
        self._wait(inputs)
        tensor: Tensor = inputs.on_device.pop(position)
        if not inputs.on_device:
            self._release(inputs)
        return tensor

    def _release(self, inputs: "_BlockInputs") -> None:
        """All of a block's inputs were taken: those of the block before it come meanwhile."""
        self._spare += inputs.memory
        inputs.memory, inputs.on_host = [], []
        before = inputs.before and inputs.before()
        if before and before.on_host and not before.on_device:
            self._fetch(before)

    def _fetch(self, inputs: "_BlockInputs") -> None:
        """Lets them come. What comes is held here until it was waited for, whoever drops it before."""
        self._wait(self._arriving)
        self._arriving = inputs
        inputs.on_device = {
            n: torch.empty_like(host, device=self._device) for n, host in enumerate(inputs.on_host)
        }
        self._copy(inputs, [(inputs.on_device[n], host) for n, host in enumerate(inputs.on_host)])

    def _copy(self, inputs: "_BlockInputs", pairs: list[tuple[Tensor, Tensor]]) -> None:
        """Copies the second of each pair to the first, beside what is queued on the device and after it."""
        self._stream.wait_event(self._module.current_stream(self._device).record_event())
        with self._module.stream(self._stream):
            for to, tensor in pairs:
                to.copy_(tensor, non_blocking=True)
            inputs.copied = self._stream.record_event()

    def _wait(self, inputs: "_BlockInputs | None") -> None:
        """What is queued on the device from now on comes after the copies of these."""
        if inputs is not None and inputs.copied is not None:
            self._module.current_stream(self._device).wait_event(inputs.copied)

    def _memory(self, nbytes: int) -> Tensor | None:
        """Pinned memory: some that is left over, or more in place of it. None, said once, where there is no more."""
        for number, each in enumerate(self._spare):
            if each.nbytes >= nbytes:
                return self._spare.pop(number)
        if self._spare:
            self._spare.pop()  # clips have become larger
        found = pinned_memory(nbytes)
        if found is None and not self._is_told:
            self._is_told = True
            text = "inputs of some blocks stay on the device: the host has no more memory that can be pinned"
            self._report(Notice(f"optimization.activations_on_host: {text}"))
        return found


class _BlockInputs:
    """What waits of one block.

    Attributes:
        own: where the tensors are that only this block takes.
        memory, on_host: pinned memory, and what is in it.
        on_device: by position; while they go, and when they have come.
        copied: an event of the last copy.
        before: those of the block before it.
    """

    def __init__(self, own: set[int]):
        self.own = own
        self.memory: list[Tensor] = []
        self.on_host: list[Tensor] = []
        self.on_device: dict[int, Tensor] = {}
        self.copied: Any = None
        self.before: weakref.ref[_BlockInputs] | None = None


def _place(tensor: Tensor) -> int:
    """Of its memory; the same for what autograd makes of the tensor to save it."""
    place: int = tensor.untyped_storage()._cdata
    return place
