"""Predictions for one clip at several noise levels, in as few forward passes as the memory of a step allows."""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from ..config import TrainingConfig
from ..events import StopSignal, raise_if_stopped
from ..families.base import Denoiser, StreamInput, Text
from ..strategies import StepInputs


def fits_batch(config: TrainingConfig, levels: int) -> bool:
    """Whether a clip at so many levels takes no more memory than a batch of training."""
    return config.optimization.batch_size >= levels


def predictions(
    denoiser: Denoiser,
    inputs: Sequence[StepInputs],
    text: Text,
    device: torch.device,
    stop: StopSignal,
    at_once: bool,
) -> Iterator[dict[str, Tensor]]:
    """What is predicted for each of the inputs, [1, M, C] by stream.

    Args:
        inputs: of one clip, on the device.
        text: of one sample.
        at_once: all in one forward pass, or one by one.

    Raises:
        Cancelled: when it was stopped.
    """
    given = text.to(device, denoiser.dtype)
    if at_once:
        raise_if_stopped(stop)
        seen = [each.seen for each in inputs]
        batch = {name: StreamInput.batch([each[name] for each in seen]) for name in seen[0]}
        found = denoiser.denoise(batch, given.repeated(len(inputs)))
        for number in range(len(inputs)):
            yield {name: each[number : number + 1] for name, each in found.items()}
        return
    for each in inputs:
        raise_if_stopped(stop)
        yield denoiser.denoise(each.seen, given)
