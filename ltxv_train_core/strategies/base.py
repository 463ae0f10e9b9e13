"""What a strategy makes of a batch, and how its loss is measured.

Shapes: B batch, N tokens of the target, M tokens in all (N, then those of a reference), C channels.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Protocol

import torch
from torch import Tensor

from ..config import TrainingConfig
from ..datasets.dataset import Batch
from ..diffusion.draws import SampleDraws
from ..diffusion.loss import MEAN_SQUARED, VelocityLoss
from ..families.base import Stream, StreamInput
from ..models.device import moved


@dataclass(frozen=True)
class StreamStep:
    """One stream in one forward pass.

    Attributes:
        seen: what the model sees.
        velocity: [B, N, C] noise - clean, what the first N tokens should predict.
        counted: [B, N] bool, tokens that the loss counts.
        weight: of its loss in that of the step.
        measure: what errors cost.
        sample_weights: [B] factors on the samples' losses; None: all are 1.
    """

    seen: StreamInput
    velocity: Tensor
    counted: Tensor
    weight: float = 1.0
    measure: VelocityLoss = MEAN_SQUARED
    sample_weights: Tensor | None = None

    def to(self, device: torch.device) -> "StreamStep":
        return replace(
            self,
            seen=self.seen.to(device),
            velocity=moved(self.velocity, device),
            counted=moved(self.counted, device),
            sample_weights=None
            if self.sample_weights is None
            else moved(self.sample_weights, device),
        )

    def sample_losses(self, prediction: Tensor) -> Tensor:
        """What each sample's error costs, the mean over its counted tokens, before its weight, [B].

        Every sample weighs the same, however many of its tokens are given: so the loss of a batch
        is the mean over its parts, and accumulating gradients equals a larger batch.

        Args:
            prediction: [B, M, C] the transformer's output.
        """
        predicted = prediction[:, : self.velocity.shape[1]].float()
        error = self.measure.errors(predicted, self.velocity).mean(-1)
        counted = self.counted.float()
        losses = (error * counted).sum(1) / counted.sum(1).clamp(min=1)
        if self.measure.weights is None:
            return losses
        # Tokens that are given have the level 0.
        return losses * self.measure.weights(self.seen.levels.amax(1))

    def loss(self, prediction: Tensor) -> Tensor:
        """The mean over the samples of `sample_losses`, each with its weight."""
        losses = self.sample_losses(prediction)
        return (losses if self.sample_weights is None else losses * self.sample_weights).mean()


@dataclass(frozen=True)
class StepInputs:
    """One forward pass, stream by stream.

    Attributes:
        streams: those that are learned.
        given: those that are clean as a whole, of which nothing is learned.
    """

    streams: Mapping[str, StreamStep]
    given: Mapping[str, StreamInput] = field(default_factory=dict)

    @property
    def seen(self) -> dict[str, StreamInput]:
        """What the model sees of each stream."""
        return {name: step.seen for name, step in self.streams.items()} | dict(self.given)

    def to(self, device: torch.device) -> "StepInputs":
        return StepInputs(
            {name: step.to(device) for name, step in self.streams.items()},
            {name: seen.to(device) for name, seen in self.given.items()},
        )

    def loss(self, predictions: Mapping[str, Tensor]) -> Tensor:
        """The weighted sum of the losses of the streams that are learned.

        Args:
            predictions: [B, M, C] of each stream.
        """
        parts = [s.weight * s.loss(predictions[name]) for name, s in self.streams.items()]
        return torch.stack(parts).sum()


class Strategy(Protocol):
    """How a batch becomes a training step. One class per `conditioning.mode`."""

    def __init__(self, config: TrainingConfig, streams: Mapping[str, Stream]): ...

    def prepare(self, batch: Batch, draws: SampleDraws) -> StepInputs:
        """Draws noise and conditioning for a batch, on the CPU."""
        ...
