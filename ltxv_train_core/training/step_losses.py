"""What the forward passes of a step have lost. It stays on the device until all of it is read at once: each
reading makes the host wait until the device has done what is queued."""

import math
from collections.abc import Mapping
from typing import TypeAlias

import torch
from torch import Tensor

from ..datasets.dataset import Batch
from ..models.sharded import whole as whole_tensor
from ..strategies import StepInputs
from .noise_bands import NoiseBands

_Levels: TypeAlias = tuple[float, list[float]]
"""The weight of a stream, and the noise level of each sample."""


class StepLosses:
    """Of one step.

    Attributes:
        loss: the sum of the passes' losses.
        norm: of the gradients.
        bands: the losses of samples by stream and noise level.
        broken: what of the clips holds numbers that are not finite, where a loss isn't.
        data_sets: of a run with several, the sum of the losses of each one's samples, and how many they are.
    """

    def __init__(self, streams: Mapping[str, object], data_sets: int = 1):
        """
        Args:
            data_sets: how many the run is trained on.
        """
        self.loss = self.norm = math.nan
        self.data_sets = [(0.0, 0)] * data_sets if data_sets > 1 else []
        self.bands = {name: NoiseBands() for name in streams}
        self.broken: list[str] = []
        self._passes: list[tuple[Batch, dict[str, _Levels]]] = []
        self._waiting: list[Tensor] = []

    @torch.no_grad()
    def add(
        self,
        batch: Batch,
        on_host: StepInputs,
        on_device: StepInputs,
        predictions: Mapping[str, Tensor],
        loss: Tensor,
    ) -> None:
        """Notes one forward pass.

        Args:
            on_host, on_device: what the pass was given.
            predictions: of each stream.
            loss: its share of the step's.
        """
        self._waiting.append(loss.detach().float().reshape(1))
        levels: dict[str, _Levels] = {}
        for name, step in on_device.streams.items():
            self._waiting.append(step.sample_losses(predictions[name]).float())
            # Tokens that are given have the level 0.
            levels[name] = step.weight, on_host.streams[name].seen.levels.amax(1).tolist()
        self._passes.append((batch, levels))

    @property
    def clips(self) -> list[str]:
        return [name for batch, _ in self._passes for name in batch.names]

    def read(self, norm: Tensor) -> None:
        """Takes all of it from the device, with the norm of the gradients."""
        last = whole_tensor(norm).detach().float().reshape(1)
        numbers = iter(torch.cat([*self._waiting, last]).to("cpu").tolist())
        self.loss = 0.0
        for batch, levels in self._passes:
            loss = next(numbers)
            self.loss += loss
            self.broken += [] if math.isfinite(loss) else batch.not_finite()
            whole = [0.0] * len(batch.names)
            for name, (weight, of_samples) in levels.items():
                for place, level in enumerate(of_samples):
                    loss = next(numbers)
                    self.bands[name].add(level, loss)
                    whole[place] += weight * loss
            self._add_to_data_sets(batch, whole)
        self.norm = next(numbers)

    def _add_to_data_sets(self, batch: Batch, losses: list[float]) -> None:
        if self.data_sets:
            for number, loss in zip(batch.data_sets, losses, strict=True):
                total, samples = self.data_sets[number]
                self.data_sets[number] = total + loss, samples + 1
