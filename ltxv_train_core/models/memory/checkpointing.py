"""Blocks whose activations are computed again in the backward pass."""

from collections.abc import Callable, Collection
from functools import partial
from typing import Any

import torch
from torch.utils.checkpoint import checkpoint

from ..transformer import Transformer


def recompute_blocks(transformer: Transformer, count: int, left_out: Collection[int] = ()) -> None:
    """Lets some blocks be computed again, the others not; after all else that replaces their forward.

    The first ones: when their turn comes in the backward pass, those behind them need no memory any more.

    Args:
        left_out: numbers of blocks that are computed again already.
    """
    checkpointed = partial(checkpoint, use_reentrant=False)
    others = [n for n in range(len(transformer.transformer_blocks)) if n not in left_out]
    for number in others[:count]:
        block = transformer.transformer_blocks[number]
        block.forward = Recomputed(block.forward, checkpointed)


class Recomputed:
    """A forward whose activations are computed again in the backward pass."""

    def __init__(self, forward: Callable[..., Any], checkpointed: Callable[..., Any]):
        self._forward, self._checkpointed = forward, checkpointed

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if torch.is_grad_enabled():
            return self._checkpointed(self._forward, *args, **kwargs)
        return self._forward(*args, **kwargs)
