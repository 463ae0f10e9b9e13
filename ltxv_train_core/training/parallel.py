"""The engines of torch by which several processes train one model.

DistributedDataParallel where each has all of the weights: gradients are averaged while the backward pass
runs. FSDP2 (`fully_shard`) where each has a part of them: for the weights, gradients and moments of full
training, and for a frozen base that one card can't hold.
"""

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from ..config import TrainingConfig
from ..families.base import Denoiser, StreamInput, Text
from .distributed import Processes
from .trainable import Trainable

_TOO_OLD = (
    f"torch {torch.__version__} can't share a model's weights among processes; take 2.6 or newer, or train "
    "a LoRA without acceleration.shard_model"
)


class DenoisingPass(nn.Module):
    """A denoiser as one module: what wraps it sees the whole forward pass."""

    def __init__(self, denoiser: Denoiser):
        super().__init__()
        self.transformer = denoiser.transformer
        self._denoise = denoiser.denoise

    def forward(self, inputs: Mapping[str, StreamInput], text: Text) -> dict[str, Tensor]:
        return self._denoise(inputs, text)


def is_sharded(config: TrainingConfig, processes: int) -> bool:
    """Whether each process has a part of the weights."""
    is_wanted = config.acceleration.shard_model or config.model.training_mode == "full"
    return processes > 1 and is_wanted


def sharding_problems(config: TrainingConfig) -> list[str]:
    """What can't be shared among processes."""
    options, optimizer = config.acceleration, config.optimization.optimizer_type
    found = {
        "acceleration.quantization": options.quantization is not None,
        "acceleration.blocks_to_offload": options.blocks_to_offload > 0,
        "optimization.checkpointing_budget": config.optimization.checkpointing_budget is not None,
        "acceleration.mixed_precision_mode fp16": options.mixed_precision_mode == "fp16",
        "optimization.trained_weights bf16": config.optimization.trained_weights == "bf16",
        "optimization.ema_on_host": config.optimization.ema_on_host,
        "optimization.activations_on_host": config.optimization.activations_on_host,
        f"optimization.optimizer_type {optimizer}": optimizer
        not in ("adamw", "adamw_schedulefree"),
    }
    too_old = [] if _can_shard() else [_TOO_OLD]
    return too_old + [
        f"{option}: can't be used with a model whose weights are shared among processes "
        "(model.training_mode full, or acceleration.shard_model); leave it at its default"
        for option, is_wrong in found.items()
        if is_wrong
    ]


def gradient_problems(config: TrainingConfig) -> list[str]:
    """What several processes can't do, sharded or not, because they average gradients first."""
    if not config.optimization.release_gradients:
        return []
    return [
        "optimization.release_gradients: weights would move before several processes have averaged their "
        "gradients; switch it off, or train in one process"
    ]


def _can_shard() -> bool:
    # Here and below: it imports sympy and much of the compiler.
    from torch.distributed import fsdp

    return hasattr(fsdp, "fully_shard")


def distribute(config: TrainingConfig, trainable: Trainable, processes: Processes) -> nn.Module:
    """The forward pass of a run, by the engine for its processes.

    Where weights are sharded, `trainable.parameters` become the parts, in the same order.
    """
    forward = DenoisingPass(trainable.denoiser)
    if processes.count == 1:
        return forward
    if is_sharded(config, processes.count):
        _shard(forward, trainable, processes)
        return forward
    return DistributedDataParallel(
        forward,
        # All of them have loaded the same weights. Frozen ones may be quantized, or lie in host memory.
        init_sync=False,
        broadcast_buffers=False,
        # Of a batch without sound, the layers of sound.
        find_unused_parameters=True,
    )


def accumulating(forward: nn.Module, is_last: bool) -> AbstractContextManager[None]:
    """Of all forward and backward passes of a step only the last one averages gradients. Sharded gradients
    are added up as parts: whole ones would take the memory that sharding saves."""
    if isinstance(forward, DistributedDataParallel) and not is_last:
        return forward.no_sync()
    return nullcontext()


@contextmanager
def with_all_parts(denoiser: Denoiser, forward: nn.Module) -> Iterator[Denoiser]:
    """A denoiser of sharded weights for forward passes alone, which all processes make alike."""
    # Outside the blocks weights stay whole after a pass, and may be others before it: those of the average.
    forward.reshard()  # type: ignore[operator]
    try:
        yield _AllParts(denoiser, forward)
    finally:
        forward.reshard()  # type: ignore[operator]


class _AllParts:
    """A denoiser whose passes go through what brings the weights together."""

    def __init__(self, denoiser: Denoiser, forward: nn.Module):
        self._denoiser, self.denoise = denoiser, forward

    def __getattr__(self, name: str) -> Any:
        return getattr(self._denoiser, name)


def _shard(forward: DenoisingPass, trainable: Trainable, processes: Processes) -> None:
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    transformer = forward.transformer
    names = {id(parameter): name for name, parameter in transformer.named_parameters()}
    order = [names[id(parameter)] for parameter in trainable.parameters]
    mesh = init_device_mesh(processes.device.type, (processes.count,))
    for block in transformer.transformer_blocks:
        fully_shard(block, mesh=mesh)
    fully_shard(forward, mesh=mesh)
    parts: dict[str, torch.nn.Parameter] = dict(transformer.named_parameters())
    trainable.parameters = [parts[name] for name in order]
