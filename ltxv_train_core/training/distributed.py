"""Several processes that train one run together: `accelerate launch` or `torchrun` starts them.

Each has all of the weights and takes every count-th batch; gradients are averaged before a step. The
first one writes, samples and listens; the others follow it.
"""

import os
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist

from ..models.device import default_device

PATIENCE = timedelta(hours=6)
"""How long the others wait while the first one samples or writes."""


@dataclass(frozen=True)
class Processes:
    """This process among those that train together; alone by default.

    Attributes:
        local_rank: its number on this machine, and of its accelerator.
    """

    rank: int = 0
    count: int = 1
    local_rank: int = 0

    @classmethod
    def join(cls) -> "Processes":
        """Joins those that a launcher has started with this one, if it was started so."""
        count = int(os.environ.get("WORLD_SIZE", "1"))
        if count == 1:
            return cls()
        local_rank = int(os.environ.get("LOCAL_RANK", "0"))
        if not dist.is_initialized():
            on_cuda = default_device().type == "cuda"
            if on_cuda:
                torch.cuda.set_device(local_rank)
            # torch for Windows has gloo alone.
            has_nccl = on_cuda and dist.is_nccl_available()
            backend = "nccl" if has_nccl else "gloo"
            dist.init_process_group(backend, timeout=PATIENCE)
        return cls(dist.get_rank(), count, local_rank)

    @property
    def is_first(self) -> bool:
        return self.rank == 0

    @property
    def device(self) -> torch.device:
        """The accelerator that this process trains on, whichever its thread takes for the current
        one."""
        device = default_device()
        if self.count > 1 and device.type == "cuda":
            return torch.device("cuda", self.local_rank)
        return device

    def average_gradients(self, parameters: Iterable[torch.nn.Parameter]) -> None:
        """Gives every process the mean of all processes' gradients."""
        if self.count == 1:
            return
        gradients = [p.grad for p in parameters if p.grad is not None]
        flat = torch.cat([gradient.flatten() for gradient in gradients])
        dist.all_reduce(flat)
        flat /= self.count
        parts = flat.split([gradient.numel() for gradient in gradients])
        for gradient, part in zip(gradients, parts, strict=True):
            gradient.copy_(part.view_as(gradient))

    def mean(self, value: float) -> float:
        """The mean of all processes' values, the same in each."""
        if self.count == 1:
            return value
        shared = torch.tensor([value], dtype=torch.float64, device=self.device)
        dist.all_reduce(shared)
        return float(shared) / self.count

    def agree(self, value: Any) -> Any:
        """What the first process has, in every process."""
        if self.count == 1:
            return value
        shared = [value]
        dist.broadcast_object_list(shared, device=self.device)
        return shared[0]

    def leave(self) -> None:
        if self.count > 1 and dist.is_initialized():
            dist.destroy_process_group()
