"""What a strategy makes of a batch, and how its loss is measured.

Shapes: B batch, N tokens of the target, M tokens in all (N, then those of a reference), C 128.
"""

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from ..config import TrainingConfig
from ..datasets.dataset import Batch, TrainingDataset


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
        """Mean over the samples of each one's mean squared error over its counted tokens.

        Every sample weighs the same, however many of its tokens are given: so the loss of a batch
        is the mean over its parts, and accumulating gradients equals a larger batch.

        Args:
            prediction: [B, M, C] the transformer's output.
        """
        error = (prediction[:, : self.velocity.shape[1]].float() - self.velocity).square().mean(-1)
        counted = self.counted.float()
        return ((error * counted).sum(1) / counted.sum(1).clamp(min=1)).mean()


class Strategy(Protocol):
    """How a batch becomes a training step. One class per `conditioning.mode`."""

    def __init__(self, config: TrainingConfig, causal_positions: bool): ...

    @staticmethod
    def open_data(config: TrainingConfig) -> TrainingDataset:
        """The data set, with what this strategy needs of it.

        Raises:
            DataError: it is no data set, or lacks something.
        """
        ...

    def prepare(self, batch: Batch, generator: torch.Generator) -> StepInputs:
        """Draws noise and conditioning for a batch, on the CPU."""
        ...
