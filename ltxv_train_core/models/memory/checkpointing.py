"""Blocks whose activations are computed again in the backward pass."""

from collections.abc import Callable, Collection
from functools import partial
from typing import Any, TypeAlias

import torch
from torch.utils.checkpoint import checkpoint

from ...events import Reporter
from ..device import stream_module
from ..transformer import Transformer
from .host_inputs import HostInputs

Checkpoint: TypeAlias = Callable[..., Any]
"""Calls a function (its first argument) with the others, and keeps these alone for the backward pass."""
ON_DEVICE: Checkpoint = partial(checkpoint, use_reentrant=False)


def new_checkpoint(device: torch.device, on_host: bool, report: Reporter) -> Checkpoint:
    """What lets functions of a run be computed again.

    Args:
        on_host: whether what it keeps waits in memory of the host, where that is another one than the device's.
    """
    if on_host and stream_module(device) is not None:
        return HostInputs(device, report)
    return ON_DEVICE


def recompute_blocks(
    transformer: Transformer,
    count: int,
    left_out: Collection[int] = (),
    checkpointed: Checkpoint = ON_DEVICE,
) -> None:
    """Lets some blocks be computed again, the others not; after all else that replaces their forward.

    The first ones: when their turn comes in the backward pass, those behind them need no memory any more.

    Args:
        left_out: numbers of blocks that are computed again already.
    """
    others = [n for n in range(len(transformer.transformer_blocks)) if n not in left_out]
    for number in others[:count]:
        block = transformer.transformer_blocks[number]
        block.forward = Recomputed(block.forward, checkpointed)


class Recomputed:
    """A forward whose activations are computed again in the backward pass."""

    def __init__(self, forward: Callable[..., Any], checkpointed: Checkpoint):
        self._forward, self._checkpointed = forward, checkpointed

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if torch.is_grad_enabled():
            return self._checkpointed(self._forward, *args, **kwargs)
        return self._forward(*args, **kwargs)
