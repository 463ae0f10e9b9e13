"""How far a LoRA has moved a model from its base: with the captions it should, without a prompt it has forgotten.

Measured is ||v - v_base||^2 / ||v_base||^2 of the predicted velocities v, at the same clips, noise and levels every time.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

import torch
from torch import Tensor

from ..datasets.dataset import Batch
from ..events import StopSignal
from ..families.base import Denoiser, Text
from ..lora.base_only import adapters_off
from ..strategies import StepInputs
from .levels_of_clip import predictions


@dataclass(frozen=True)
class Moved:
    """Relative squared changes of predictions; of a model with sound the mean over its streams.

    Attributes:
        without_prompt: None where there is no embedding of the empty caption.
    """

    with_captions: float
    without_prompt: float | None


@dataclass(frozen=True)
class MovedCase:
    """One clip at several noise levels."""

    clip: Batch
    inputs: Sequence[StepInputs]


def measure_moved(
    cases: Sequence[MovedCase],
    empty: Text | None,
    denoiser: Denoiser,
    device: torch.device,
    stop: StopSignal,
    of_base: list[dict[str, Tensor]],
    at_once: bool,
) -> Moved:
    """Measures it without gradients, in one or two forward passes a level, the first time in twice as many.

    Args:
        empty: the empty caption.
        of_base: the base's predictions, on the CPU, which stay the same: empty the first time, and filled then.
        at_once: all levels of a clip in one forward pass.

    Raises:
        Cancelled: when it was stopped.
    """
    with_captions, without_prompt = _Change(), _Change()
    known = iter(list(of_base))
    for case in cases:
        inputs = [each.to(device) for each in case.inputs]
        texts = [(with_captions, case.clip.text)]
        texts += [] if empty is None else [(without_prompt, empty)]
        for change, text in texts:
            given = (denoiser, inputs, text, device, stop, at_once)
            bases = list(islice(known, len(inputs)))
            if not bases:
                with adapters_off(denoiser.transformer):
                    bases = [
                        {name: each[name].cpu() for name in step.streams}
                        for step, each in zip(inputs, predictions(*given), strict=True)
                    ]
                of_base += bases
            for now, base in zip(predictions(*given), bases, strict=True):
                change.add({name: (now[name], each.to(device)) for name, each in base.items()})
    return Moved(with_captions.share, None if empty is None else without_prompt.share)


class _Change:
    """Sums of squares by stream."""

    def __init__(self) -> None:
        self._changed: dict[str, float] = {}
        self._base: dict[str, float] = {}

    def add(self, predictions: Mapping[str, tuple[Tensor, Tensor]]) -> None:
        """Adds what is predicted now and by the base, of each stream."""
        for name, (now, base) in predictions.items():
            of_base = base.float()
            changed = (now.float() - of_base).square().sum().item()
            self._changed[name] = self._changed.get(name, 0.0) + changed
            self._base[name] = self._base.get(name, 0.0) + of_base.square().sum().item()

    @property
    def share(self) -> float:
        """Of the base's squares, the mean over the streams."""
        parts = [self._changed[name] / max(self._base[name], 1e-30) for name in self._base]
        return sum(parts) / len(parts)
