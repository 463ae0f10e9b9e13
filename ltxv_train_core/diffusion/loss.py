"""What a prediction of the velocity costs: by its error, and by the noise level.

Shapes: B batch, "..." anything. t is a noise level in [0, 1]: the input is (1 - t) * clean + t * noise.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from ..config import FlowMatchingConfig


@dataclass(frozen=True)
class VelocityLoss:
    """A loss of predictions.

    Attributes:
        errors: what each number costs, from prediction and target [...].
        weights: what a sample weighs, from levels [B]; None where all weigh the same.
    """

    errors: Callable[[Tensor, Tensor], Tensor]
    weights: Callable[[Tensor], Tensor] | None = None


def squared_errors(prediction: Tensor, target: Tensor) -> Tensor:
    """Of each number."""
    return (prediction - target).square()


MEAN_SQUARED = VelocityLoss(squared_errors)


def loss_of(config: FlowMatchingConfig) -> VelocityLoss:
    """The loss of a run."""
    of_errors: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
        "mse": squared_errors,
        "huber": partial(F.huber_loss, reduction="none", delta=config.loss_delta),
        "smooth_l1": partial(F.smooth_l1_loss, reduction="none", beta=config.loss_delta),
    }
    of_levels: dict[str, Callable[[Tensor], Tensor] | None] = {
        "none": None,
        "min_snr": partial(min_snr_weights, gamma=config.min_snr_gamma),
        "cosmap": cosmap_weights,
    }
    return VelocityLoss(of_errors[config.loss], of_levels[config.loss_weighting])


def min_snr_weights(levels: Tensor, gamma: float) -> Tensor:
    """min(SNR, gamma) on the error of the clean sample (Hang et al. 2023, arXiv 2303.09556, section 3.4), in terms of the
    velocity.

    SNR = ((1 - t) / t)^2, and an error of the velocity is t times as large in the clean sample: so the weight of
    the velocity's squared error is min((1 - t)^2, gamma t^2). It is divided by its mean over all t, so that the loss
    keeps its size.
    """
    root = math.sqrt(gamma)
    turn = 1 / (1 + root)  # where SNR is gamma
    mean = (gamma * turn**3 + (1 - turn) ** 3) / 3
    return torch.minimum((1 - levels).square(), gamma * levels.square()) / mean


def cosmap_weights(levels: Tensor) -> Tensor:
    """2 / (pi (1 - 2 t + 2 t^2)): the density that a cosine schedule has over t (Esser et al. 2024, arXiv 2403.03206,
    section 3.1). Its mean over all t is 1."""
    return 2 / (math.pi * (1 - 2 * levels + 2 * levels.square()))
