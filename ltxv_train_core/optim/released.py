"""Weights that move during the backward pass, each as soon as its gradient is there."""

import math

import torch
from torch import Tensor
from torch.optim import Optimizer


class ReleasedGradients:
    """Steps an optimizer for one parameter at a time, and releases its gradient then.

    The norm of all gradients is known when there are none any more: each is clipped by itself, to its share of the
    largest norm, so that all together don't exceed it. One that isn't finite counts as zero: its weight moves by its
    moments alone. Nothing waits for the device.
    """

    def __init__(self, optimizer: Optimizer, parameters: list[torch.nn.Parameter], max_norm: float):
        self._optimizer, self._max_norm = optimizer, max_norm
        self._device = parameters[0].device
        self._numbers = sum(parameter.numel() for parameter in parameters)
        self._norms: list[Tensor] = []
        for parameter in parameters:
            parameter.register_post_accumulate_grad_hook(self._move)

    def norm(self) -> Tensor:
        """Of all gradients of the step before they were clipped, on the device; NaN where there were none."""
        norms, self._norms = self._norms, []
        if not norms:
            return torch.full((), torch.nan, device=self._device)
        total: Tensor = torch.linalg.vector_norm(torch.stack(norms))
        return total

    @torch.no_grad()
    def _move(self, parameter: Tensor) -> None:
        gradient = parameter.grad
        assert gradient is not None
        norm = torch.linalg.vector_norm(gradient, dtype=torch.float32)
        self._norms.append(norm)
        allowed = self._max_norm * math.sqrt(gradient.numel() / self._numbers)
        scale = (allowed / (norm + 1e-6)).clamp(max=1.0)
        gradient.mul_(scale).nan_to_num_(0.0, 0.0, 0.0)
        groups = self._optimizer.param_groups
        everything = [group["params"] for group in groups]
        for group in groups:
            group["params"] = [own for own in group["params"] if own is parameter]
        try:
            self._optimizer.step()
        finally:
            for group, parameters in zip(groups, everything, strict=True):
                group["params"] = parameters
        parameter.grad = None
