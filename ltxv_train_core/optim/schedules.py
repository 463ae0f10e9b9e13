"""Learning rate schedules. A schedule moves once for each optimizer step."""

import math
from collections.abc import Callable

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from ..config import OptimizationConfig


def build_schedule(config: OptimizationConfig, optimizer: Optimizer) -> LambdaLR:
    """The schedule of a run; its state is the number of steps it has moved.

    With warm-up the rate rises in even parts, the first of them in the first step, and the
    schedule begins when the warm-up has ended.
    """
    warmup = config.warmup_steps
    scheduled = _factor(config, config.steps - warmup)

    def factor(step: int) -> float:
        if step < warmup:
            return scheduled(0) * (step + 1) / (warmup + 1)
        return scheduled(step - warmup)

    return LambdaLR(optimizer, factor)


def set_learning_rates(schedule: LambdaLR) -> None:
    """Gives the optimizer the rates of the step that the schedule stands at.

    A loaded optimizer has the rates of the schedule that it was saved under.
    """
    rates = [
        base * factor(schedule.last_epoch)
        for base, factor in zip(schedule.base_lrs, schedule.lr_lambdas, strict=True)
    ]
    for group, base, rate in zip(
        schedule.optimizer.param_groups, schedule.base_lrs, rates, strict=True
    ):
        group["initial_lr"], group["lr"] = base, rate


def _factor(config: OptimizationConfig, steps: int) -> Callable[[int], float]:
    """The learning rate of a step as a share of `learning_rate`, over `steps` steps."""
    params = config.scheduler_params
    floor = params.get("eta_min", 0.0) / config.learning_rate
    if config.scheduler_type == "constant":
        return lambda step: 1.0
    if config.scheduler_type == "linear":
        start, end = params.get("start_factor", 1.0), params.get("end_factor", 0.1)
        return lambda step: start + (end - start) * min(step / steps, 1.0)
    if config.scheduler_type == "cosine":
        return lambda step: _cosine(min(step / steps, 1.0), floor)
    if config.scheduler_type == "cosine_with_restarts":
        cycles = params.get("cycles", 4.0)
        return lambda step: _cosine((step * cycles / steps) % 1.0, floor)
    power = params.get("power", 1.0)
    return lambda step: max(0.0, 1.0 - step / steps) ** power


def _cosine(share: float, floor: float) -> float:
    return floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * share))
