"""Optimizers by the names of the configuration. Libraries are imported when they are used."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from ..config import OptimizationConfig
from ..models.packages import why_not_usable

# PyTorch's own default for AdamW, which LTX-Video-Trainer keeps.
WEIGHT_DECAY = 0.01
PROBE_SIZE = 4096
"""bitsandbytes (0.50) keeps optimizer state of smaller tensors in 32 bits: a smaller probe would not run its
8-bit kernels, which are what may be missing on a machine."""


def build_optimizer(config: OptimizationConfig, parameters: list[torch.nn.Parameter]) -> Optimizer:
    """The optimizer of a run, with its library's usual betas and weight decay 0.01."""
    return _BUILDERS[config.optimizer_type](parameters, config)


def optimizer_problem(config: OptimizationConfig, device: torch.device) -> str | None:
    """Why a run's optimizer can't work here, or None. Found by one step on a small parameter."""
    kind = config.optimizer_type
    if kind == "adamw":
        return None
    try:
        probe = torch.nn.Parameter(torch.ones(PROBE_SIZE, device=device))
        probe.grad = torch.ones_like(probe)
        build_optimizer(config, [probe]).step()
    except Exception as error:
        instead = "adafactor (little memory) or adamw" if kind == "adamw8bit" else "adamw"
        return (
            f"optimization.optimizer_type: {kind} {why_not_usable(error, device.type)}; or choose "
            f"{instead}"
        )
    return None


@contextmanager
def final_weights(optimizer: Optimizer) -> Iterator[None]:
    """Within the block, parameters hold what the optimizer would hand out.

    A schedule-free optimizer trains at one point and hands out the average of another; for all
    others they are the same. Afterwards the parameters hold bit for bit the weights of before.
    """
    if not hasattr(optimizer, "eval"):
        yield
        return
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    kept = [p.detach().clone() for p in parameters]
    optimizer.eval()
    try:
        yield
    finally:
        optimizer.train()  # type: ignore[attr-defined]
        put_weights(parameters, kept)


@torch.no_grad()
def put_weights(parameters: list[torch.nn.Parameter], values: list[Tensor]) -> None:
    """Copies values into parameters, in place."""
    for parameter, value in zip(parameters, values, strict=True):
        parameter.copy_(value)


def _adamw(parameters: list[torch.nn.Parameter], config: OptimizationConfig) -> Optimizer:
    """All of it in one operation where the device has that: it needs no memory in between."""
    build = partial(
        torch.optim.AdamW, parameters, lr=config.learning_rate, weight_decay=WEIGHT_DECAY
    )
    try:
        return build(fused=True)
    except RuntimeError:  # torch has none for this kind of device
        return build()


def _adamw8bit(parameters: list[torch.nn.Parameter], config: OptimizationConfig) -> Any:
    from bitsandbytes.optim import AdamW8bit

    return AdamW8bit(parameters, lr=config.learning_rate, weight_decay=WEIGHT_DECAY)


def _prodigy(parameters: list[torch.nn.Parameter], config: OptimizationConfig) -> Any:
    from prodigyopt import Prodigy

    return Prodigy(
        parameters,
        lr=config.learning_rate,
        weight_decay=WEIGHT_DECAY,
        use_bias_correction=True,
        safeguard_warmup=config.warmup_steps > 0,
    )


def _adafactor(parameters: list[torch.nn.Parameter], config: OptimizationConfig) -> Any:
    """At the configured rate: a LoRA starts at zero, where steps relative to the weights' size
    would be too small."""
    from transformers.optimization import Adafactor

    return Adafactor(
        parameters,
        lr=config.learning_rate,
        weight_decay=WEIGHT_DECAY,
        scale_parameter=False,
        relative_step=False,
    )


def _adamw_schedulefree(parameters: list[torch.nn.Parameter], config: OptimizationConfig) -> Any:
    from schedulefree import AdamWScheduleFree

    optimizer = AdamWScheduleFree(
        parameters, lr=config.learning_rate, weight_decay=WEIGHT_DECAY, foreach=False
    )
    optimizer.train()
    return optimizer


_BUILDERS: dict[str, Callable[[list[torch.nn.Parameter], OptimizationConfig], Optimizer]] = {
    "adamw": _adamw,
    "adamw8bit": _adamw8bit,
    "prodigy": _prodigy,
    "adafactor": _adafactor,
    "adamw_schedulefree": _adamw_schedulefree,
}
