"""What becomes of a text encoder's hidden states before LTX-2.x's connectors read them.

Shapes: L tokens, D width of a hidden state, N hidden states, V and A width of the video's and of the sound's
features.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

from ...storage.safetensors_header import TensorInfo

_SPREAD = 8.0
_EPSILON = 1e-6

_BOTH, _VIDEO, _AUDIO = "aggregate_embed", "video_aggregate_embed", "audio_aggregate_embed"


@dataclass(frozen=True)
class ProjectionSizes:
    """Of a projection in a file.

    Attributes:
        inputs: D * N.
        widths: of its layers by name: one for both streams, or one for each.
        biased: those that add a bias.
    """

    inputs: int
    widths: Mapping[str, int]
    biased: frozenset[str]


class TextProjection(nn.Module):
    """LTX-2.0 projects once for both streams, later ones once for each."""

    def __init__(self, sizes: ProjectionSizes):
        super().__init__()
        for name, width in sizes.widths.items():
            self.add_module(name, nn.Linear(sizes.inputs, width, bias=name in sizes.biased))

    @torch.no_grad()
    def forward(self, states: Tensor) -> Tensor:
        """Hidden states [L, D, N] of a prompt, without padding, to features [L, V], or [L, V + A]."""
        layers = {name: cast(nn.Linear, layer) for name, layer in self.named_children()}
        weight = next(self.parameters())
        states = states.to(weight.device)
        if _BOTH in layers:
            features: Tensor = layers[_BOTH](_evened(states).flatten(1).to(weight.dtype))
            return features
        unit = _of_unit_length(states).flatten(1)
        each = [
            layers[name](
                (unit * math.sqrt(layers[name].out_features / states.shape[1])).to(weight.dtype)
            )
            for name in (_VIDEO, _AUDIO)
        ]
        return torch.cat(each, dim=-1)


def _evened(states: Tensor) -> Tensor:
    """Each hidden state around 0, and over a range of 8."""
    mean = states.mean(dim=(0, 1), keepdim=True)
    low, high = states.amin(dim=(0, 1), keepdim=True), states.amax(dim=(0, 1), keepdim=True)
    return _SPREAD * (states - mean) / (high - low + _EPSILON)


def _of_unit_length(states: Tensor) -> Tensor:
    """Each token of each hidden state with a mean square of 1."""
    return states * torch.rsqrt(states.square().mean(dim=1, keepdim=True) + _EPSILON)


def read_projection(part: Mapping[str, TensorInfo]) -> ProjectionSizes | None:
    """A projection in a file; None where there is none.

    Args:
        part: tensors by their names behind `text_embedding_projection.`.
    """
    both = {_BOTH} if f"{_BOTH}.weight" in part else set()
    names = both or {_VIDEO, _AUDIO}
    found = {name: part.get(f"{name}.weight") for name in sorted(names, reverse=True)}
    shapes = {name: info.shape for name, info in found.items() if info is not None}
    inputs = {shape[1] for shape in shapes.values() if len(shape) == 2}
    if len(shapes) != len(names) or len(inputs) != 1:
        return None
    return ProjectionSizes(
        inputs.pop(),
        {name: shape[0] for name, shape in shapes.items()},
        frozenset(name for name in names if f"{name}.bias" in part),
    )
