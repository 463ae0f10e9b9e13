"""Optimizers by the names of the configuration. Libraries are imported when they are used."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, TypeAlias

import torch
from torch import Tensor
from torch.optim import Optimizer

from ..config import OptimizationConfig
from ..errors import ConfigurationError
from ..models.packages import why_not_usable
from .rounded_adamw import RoundedAdamW

FACTOR = "rate_factor"
"""Of a group of parameters: what the learning rate is multiplied with there."""
Parameters: TypeAlias = list[torch.nn.Parameter] | list[dict[str, Any]]
# PyTorch's own default for AdamW, which LTX-Video-Trainer keeps.
WEIGHT_DECAY = 0.01
PROBE_SIZE, PROBE_ROWS = 4096, 64
"""bitsandbytes (0.50) keeps optimizer state of smaller tensors in 32 bits: a smaller probe would not run its
8-bit kernels, which are what may be missing on a machine."""


def build_optimizer(
    config: OptimizationConfig,
    parameters: list[torch.nn.Parameter],
    seed: int = 0,
    rates: Sequence[float] | None = None,
) -> Optimizer:
    """The optimizer of a run, with its library's usual betas and weight decay 0.01.

    Args:
        seed: of the rounding, where the parameters are in bfloat16.
        rates: what the learning rate of each parameter is multiplied with; those of one rate become a group.
    """
    if parameters and parameters[0].dtype == torch.bfloat16:
        assert config.optimizer_type == "adamw"
        return RoundedAdamW(parameters, config.learning_rate, WEIGHT_DECAY, seed)
    return _BUILDERS[config.optimizer_type](_grouped(config, parameters, rates), config)


def _grouped(
    config: OptimizationConfig,
    parameters: list[torch.nn.Parameter],
    rates: Sequence[float] | None,
) -> Parameters:
    """The parameters themselves where they have one rate, or else groups of them, by their rates."""
    if rates is None or set(rates) <= {1.0}:
        return parameters
    groups: dict[float, list[torch.nn.Parameter]] = {}
    for parameter, rate in zip(parameters, rates, strict=True):
        groups.setdefault(rate, []).append(parameter)
    return [
        {"params": groups[rate], "lr": config.learning_rate * rate, FACTOR: rate}
        for rate in sorted(groups)
    ]


def optimizer_problem(config: OptimizationConfig, device: torch.device) -> str | None:
    """Why a run's optimizer can't work here, or None. Found by one step on a small parameter."""
    kind = config.optimizer_type
    if kind == "adamw":
        return None
    try:
        probe = torch.nn.Parameter(torch.ones(PROBE_SIZE // PROBE_ROWS, PROBE_ROWS, device=device))
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


def _adamw(parameters: Parameters, config: OptimizationConfig) -> Optimizer:
    """All of it in one operation where the device has that: it needs no memory in between."""
    build = partial(
        torch.optim.AdamW, parameters, lr=config.learning_rate, weight_decay=WEIGHT_DECAY
    )
    try:
        return build(fused=True)
    except RuntimeError:  # torch has none for this kind of device
        return build()


def _adamw8bit(parameters: Parameters, config: OptimizationConfig) -> Any:
    from bitsandbytes.optim import AdamW8bit

    return AdamW8bit(parameters, lr=config.learning_rate, weight_decay=WEIGHT_DECAY)


def _prodigy(parameters: Parameters, config: OptimizationConfig) -> Any:
    from prodigyopt import Prodigy

    return Prodigy(
        parameters,
        lr=config.learning_rate,
        weight_decay=WEIGHT_DECAY,
        use_bias_correction=True,
        safeguard_warmup=config.warmup_steps > 0,
    )


def _adafactor(parameters: Parameters, config: OptimizationConfig) -> Any:
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


def _adamw_schedulefree(parameters: Parameters, config: OptimizationConfig) -> Any:
    from schedulefree import AdamWScheduleFree

    optimizer = AdamWScheduleFree(
        parameters, lr=config.learning_rate, weight_decay=WEIGHT_DECAY, foreach=False
    )
    optimizer.train()
    return optimizer


def _lion(parameters: Parameters, config: OptimizationConfig) -> Any:
    """Chen et al. 2023, arXiv 2302.06675."""
    from pytorch_optimizer import Lion

    return Lion(parameters, lr=config.learning_rate, weight_decay=WEIGHT_DECAY)


def _came(parameters: Parameters, config: OptimizationConfig) -> Any:
    """Luo et al. 2023, arXiv 2307.02047."""
    from pytorch_optimizer import CAME

    return CAME(parameters, lr=config.learning_rate, weight_decay=WEIGHT_DECAY)


def _muon(parameters: Parameters, config: OptimizationConfig) -> Any:
    """Jordan et al. 2024; steps as long as adamw's (Liu et al. 2025, arXiv 2502.16982), so that rates for it suit.

    Raises:
        ConfigurationError: torch has none.
    """
    if not hasattr(torch.optim, "Muon"):
        raise ConfigurationError(
            [f"torch {torch.__version__} has no Muon, which came with 2.9; choose adamw"]
        )
    return torch.optim.Muon(
        parameters,
        lr=config.learning_rate,
        weight_decay=WEIGHT_DECAY,
        adjust_lr_fn="match_rms_adamw",
    )


def _prodigy_schedulefree(parameters: Parameters, config: OptimizationConfig) -> Any:
    from prodigyplus import ProdigyPlusScheduleFree

    optimizer = ProdigyPlusScheduleFree(
        parameters, lr=config.learning_rate, weight_decay=WEIGHT_DECAY
    )
    optimizer.train()
    return optimizer


_BUILDERS: dict[str, Callable[[Parameters, OptimizationConfig], Optimizer]] = {
    "adamw": _adamw,
    "adamw8bit": _adamw8bit,
    "prodigy": _prodigy,
    "adafactor": _adafactor,
    "adamw_schedulefree": _adamw_schedulefree,
    "lion": _lion,
    "came": _came,
    "muon": _muon,
    "prodigy_schedulefree": _prodigy_schedulefree,
}
