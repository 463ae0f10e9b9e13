"""What a strategy makes of a batch, and how its loss is measured.

Shapes: B batch, N tokens of the target, M tokens in all (N, then those of a reference), C 128.
"""

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from ..config import TrainingConfig
from ..data.dataset import Batch


@dataclass(frozen=True)
class StepInputs:
    """One forward pass.

    Attributes:
        tokens: [B, M, C] what the transformer sees.
        timesteps: [B, M] noise level * 1000; 0 for clean tokens.
        positions: [B, 3, M] seconds, pixel row, pixel column.
        velocity: [B, N, C] noise - clean, what the first N tokens should predict.
        counted: [B, N] bool, tokens that the loss counts.
    """

    tokens: Tensor
    timesteps: Tensor
    positions: Tensor
    velocity: Tensor
    counted: Tensor

    def to(self, device: torch.device) -> "StepInputs":
        return StepInputs(**{name: value.to(device) for name, value in vars(self).items()})

    def loss(self, prediction: Tensor) -> Tensor:
        """Mean squared error over the counted tokens.

        Args:
            prediction: [B, M, C] the transformer's output.
        """
        error = (prediction[:, : self.velocity.shape[1]].float() - self.velocity).square().mean(-1)
        counted = self.counted.float()
        return (error * counted).sum() / counted.sum().clamp(min=1)


class Strategy(Protocol):
    """How a batch becomes a training step. One class per `conditioning.mode`."""

    def __init__(self, config: TrainingConfig, causal_positions: bool): ...

    @staticmethod
    def reference_folder(config: TrainingConfig) -> str | None:
        """The folder of reference latents that the data set must have, or None."""
        ...

    def prepare(self, batch: Batch, generator: torch.Generator) -> StepInputs:
        """Draws noise and conditioning for a batch, on the CPU."""
        ...
