"""A running average of the trained weights."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from ..models.sharded import part_of
from ..storage.tensors import is_finite
from .optimizers import put_weights
from .saved_state import count

# As TensorFlow's and diffusers' averages begin: without it the first hundred steps weigh too much.
WARMUP_OFFSET = 10


class WeightAverage:
    """Exponential moving average of parameters, in float32.

    The decay of update n is min(decay, (1 + n) / (10 + n)), so that the average soon leaves the
    untrained weights it began with.
    """

    def __init__(self, parameters: list[torch.nn.Parameter], decay: float, on_host: bool = False):
        """
        Args:
            on_host: keep it in host memory, wherever the parameters are.
        """
        self.parameters, self.decay, self.on_host = parameters, decay, on_host
        self.updates = 0
        self.average = [self._copy(p).float() for p in parameters]

    def anew(self) -> "WeightAverage":
        """One that begins with the parameters as they are now."""
        return WeightAverage(self.parameters, self.decay, self.on_host)

    @torch.no_grad()
    def update(self) -> None:
        """Takes in the parameters as they are now."""
        self.updates += 1
        decay = min(self.decay, (1 + self.updates) / (WARMUP_OFFSET + self.updates))
        for average, parameter in zip(self.average, self.parameters, strict=True):
            average.lerp_(parameter.to(average.device).float(), 1 - decay)

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Within the block, parameters hold the average."""
        kept = [self._copy(p) for p in self.parameters]
        put_weights(self.parameters, self.average)
        try:
            yield
        finally:
            put_weights(self.parameters, kept)

    def _copy(self, parameter: torch.nn.Parameter) -> torch.Tensor:
        value = parameter.detach()
        return value.to("cpu", copy=True) if self.on_host else value.clone()

    def state_dict(self) -> dict[str, object]:
        """The number of updates, and the average as float32 tensors in the order of the parameters."""
        return {"updates": self.updates, "average": self.average}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continues a saved average.

        Raises:
            KeyError, TypeError, ValueError: the state is damaged, or of another model.
        """
        self.updates = count(state["updates"])
        for average, saved in zip(self.average, state["average"], strict=True):
            if average.shape != saved.shape:
                raise ValueError("the average is of another model")
            if not is_finite(saved):
                raise ValueError("the average holds NaN or infinite numbers")
            average.copy_(part_of(saved, average))
