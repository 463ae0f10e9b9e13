"""AdamW for weights in bfloat16."""

import random
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

NUMBERS_AT_ONCE = 2**22
"""That are in float32 at a time."""


class RoundedAdamW(Optimizer):
    """AdamW whose weights and moments are in bfloat16, computed in float32.

    bfloat16 has 8 bits for a number: an update of less than a 512th of a weight would be lost each time, and a
    second moment would hardly fall. Rounded up or down by chance, in proportion to how near each is, they are
    right on average. The chance is drawn by seed, step and parameter: a resumed run draws the same.
    """

    def __init__(
        self, parameters: list[torch.nn.Parameter], lr: float, weight_decay: float, seed: int
    ):
        options = {"lr": lr, "betas": (0.9, 0.999), "eps": 1e-8, "weight_decay": weight_decay}
        super().__init__(parameters, options)
        self._seed = seed
        self._numbers = {parameter: number for number, parameter in enumerate(parameters)}

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Moves the parameters that have a gradient."""
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._move(parameter, group)

    def _move(self, parameter: Tensor, group: dict[str, Any]) -> None:
        state = self.state[parameter]
        if not state:
            state["step"] = 0
            state["exp_avg"] = torch.zeros_like(parameter)
            state["exp_avg_sq"] = torch.zeros_like(parameter)
        state["step"] += 1
        step, rate = state["step"], float(group["lr"])
        mean_decay, square_decay = group["betas"]
        generator = self._generator(parameter, step)
        assert parameter.grad is not None
        held = [each.view(-1) for each in (parameter, state["exp_avg"], state["exp_avg_sq"])]
        gradient = parameter.grad.reshape(-1)
        for first in range(0, parameter.numel(), NUMBERS_AT_ONCE):
            part = slice(first, first + NUMBERS_AT_ONCE)
            grad = gradient[part].float()
            weight, mean, square = (each[part].float() for each in held)
            mean.lerp_(grad, 1 - mean_decay)
            square.mul_(square_decay).addcmul_(grad, grad, value=1 - square_decay)
            size = (square / (1 - square_decay**step)).sqrt_().add_(group["eps"])
            weight.mul_(1 - rate * group["weight_decay"])
            weight.addcdiv_(mean, size, value=-rate / (1 - mean_decay**step))
            for to, value in zip(held, (weight, mean, square), strict=True):
                to[part] = rounded(value, generator)

    def _generator(self, parameter: Tensor, step: int) -> torch.Generator:
        number = self._numbers[parameter]  # type: ignore[index]
        seed = random.Random(f"{self._seed} {step} {number}").getrandbits(63)
        return torch.Generator(parameter.device).manual_seed(seed)


def rounded(value: Tensor, generator: torch.Generator) -> Tensor:
    """Float32 numbers in bfloat16: up or down by chance, so that they stay what they are on average.

    bfloat16 is the upper half of float32's bits: what is drawn is added to the lower half, and carries or not.
    """
    bits = torch.randint(
        2**16, value.shape, generator=generator, dtype=torch.int32, device=value.device
    )
    bits.add_(value.view(torch.int32)).bitwise_and_(-(2**16))
    return bits.view(torch.float32).bfloat16()
