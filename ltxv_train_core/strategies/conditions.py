"""What of a clip is given to the model clean, instead of noised.

Each condition is a function that marks the latents it would give. Which samples get it is drawn for
each sample and each condition, with the probability `conditioning.<name>_conditioning_p`; what
several give, they give together. A new condition is a function, a line below, and its options.

Shapes: B batch, f h w latent frames, rows, columns; other streams than video have "..." in place of f h w,
with time first.
"""

import math
from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from ..config import ConditioningConfig
from ..datasets.dataset import StreamTensors
from ..diffusion.draws import SampleDraws
from ..families.names import AUDIO, LATENTS, MASK

Condition = Callable[[StreamTensors, ConditioningConfig, SampleDraws], Tensor]
"""Marks [B, ...] (bool) what it gives of a batch of one stream."""


def first_frame(stream: StreamTensors, config: ConditioningConfig, draws: SampleDraws) -> Tensor:
    given = _nothing(stream)
    given[:, :1] = True
    return given


def _begin(option: str) -> Condition:
    """Gives the first frames, or latents of a sound: as many as an option says."""

    def begin(stream: StreamTensors, config: ConditioningConfig, draws: SampleDraws) -> Tensor:
        given = _nothing(stream)
        given[:, : getattr(config, option)] = True
        return given

    return begin


def _end(option: str) -> Condition:
    """Gives the last ones."""

    def end(stream: StreamTensors, config: ConditioningConfig, draws: SampleDraws) -> Tensor:
        given = _nothing(stream)
        given[:, -getattr(config, option) :] = True
        return given

    return end


def spatial_crop(stream: StreamTensors, config: ConditioningConfig, draws: SampleDraws) -> Tensor:
    """A rectangle with the picture's shape, at a place of its own in each sample; of pictures alone."""
    given = _nothing(stream)
    if given.ndim != 4:
        return given
    side = math.sqrt(config.spatial_crop_share)
    rows, columns = given.shape[2:]
    height, width = max(1, round(rows * side)), max(1, round(columns * side))
    places = draws.uniform(2)
    for sample, (down, right) in zip(given, places.tolist(), strict=True):
        top = int(down * (rows - height + 1))
        left = int(right * (columns - width + 1))
        sample[:, top : top + height, left : left + width] = True
    return given


def mask(stream: StreamTensors, config: ConditioningConfig, draws: SampleDraws) -> Tensor:
    marked = stream.get(MASK)
    return _nothing(stream) if marked is None else ~marked


CONDITIONS: dict[str, Condition] = {
    "first_frame": first_frame,
    "prefix": _begin("prefix_frames"),
    "suffix": _end("suffix_frames"),
    "spatial_crop": spatial_crop,
    "mask": mask,
}

AUDIO_CONDITIONS: dict[str, Condition] = {
    "audio_prefix": _begin("audio_prefix_latents"),
    "audio_suffix": _end("audio_suffix_latents"),
    "audio_mask": mask,
}


def conditions_of(stream: str) -> Mapping[str, Condition]:
    """Those that a stream knows: a sound has no first frame."""
    return AUDIO_CONDITIONS if stream == AUDIO else CONDITIONS


def draw_given(
    stream: StreamTensors,
    config: ConditioningConfig,
    draws: SampleDraws,
    conditions: Mapping[str, Condition] = CONDITIONS,
) -> Tensor:
    """Draws what each sample is given clean: bool [B, ...].

    A sample of which nothing would be left to learn is given nothing.
    """
    given = _nothing(stream)
    for name, condition in conditions.items():
        probability = getattr(config, f"{name}_conditioning_p")
        if probability > 0:
            chosen = draws.uniform() < probability
            given[chosen] |= condition(stream, config, draws)[chosen]
    given[given.flatten(1).all(dim=1)] = False
    return given


def _nothing(stream: StreamTensors) -> Tensor:
    return torch.zeros_like(stream[LATENTS][:, 0], dtype=torch.bool)
