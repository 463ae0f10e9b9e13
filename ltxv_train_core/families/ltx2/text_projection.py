"""What becomes of a text encoder's hidden states before LTX-2.x's connectors read them.

Shapes: L tokens, D width of a hidden state, N hidden states, V and A width of the video's and of the sound's
features.
"""

import math
from typing import cast

import torch
from torch import Tensor, nn

from .projection_sizes import AUDIO, BOTH, VIDEO, ProjectionSizes

_SPREAD = 8.0
_EPSILON = 1e-6


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
        if BOTH in layers:
            features: Tensor = layers[BOTH](_evened(states).flatten(1).to(weight.dtype))
            return features
        unit = _of_unit_length(states).flatten(1)
        each = [
            layers[name](
                (unit * math.sqrt(layers[name].out_features / states.shape[1])).to(weight.dtype)
            )
            for name in (VIDEO, AUDIO)
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
