from collections.abc import Callable
from typing import Any

import torch
from torch import nn


class Transformer(nn.Module):
    """What every family's transformer offers beside a module: those of diffusers do. For annotations.

    Attributes:
        transformer_blocks: where nearly all of its weights and its work are.
    """

    transformer_blocks: nn.ModuleList
    device: torch.device
    dtype: torch.dtype
    config: Any
    is_gradient_checkpointing: bool

    def enable_gradient_checkpointing(
        self, gradient_checkpointing_func: Callable[..., Any] | None = None
    ) -> None: ...

    def add_adapter(self, config: Any) -> None: ...
