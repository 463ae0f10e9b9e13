"""Several processes that train one run together: `accelerate launch` or `torchrun` starts them.

Each takes every count-th batch; `parallel` averages their gradients. The first one writes, samples and
listens; the others follow it.
"""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist

from ..events import StopSignal
from ..models.device import default_device
from . import rendezvous
from .heartbeats import Heartbeats

COLLECTIVE = timedelta(minutes=30)
"""How long a process waits for the others in the middle of a step. It may be slower than they are to
compile or to read."""
PATIENCE = timedelta(hours=6)
"""How long the others wait between two steps, while the first one samples or writes. That it still works
they know by its heartbeats."""


@dataclass(frozen=True)
class Processes:
    """This process among those that train together; alone by default.

    Attributes:
        local_rank: its number on this machine, and of its accelerator.
        waiting: the same processes, for what may take long.
    """

    rank: int = 0
    count: int = 1
    local_rank: int = 0
    waiting: dist.ProcessGroup | None = field(default=None, compare=False)

    @classmethod
    def join(cls, stop: StopSignal | None = None) -> "Processes":
        """Joins those that a launcher has started with this one, if it was started so.

        Args:
            stop: of the wait for the others.

        Raises:
            RendezvousError: some did not come.
            Cancelled: it was stopped.
        """
        count = int(os.environ.get("WORLD_SIZE", "1"))
        if count == 1:
            return cls()
        local_rank = int(os.environ.get("LOCAL_RANK", "0"))
        if not dist.is_initialized():
            _open_group(int(os.environ["RANK"]), count, local_rank, stop)
        waiting = dist.new_group(backend="gloo", timeout=PATIENCE)
        return cls(dist.get_rank(), count, local_rank, waiting)

    def watch(self, on_silence: Callable[[int], None]) -> Heartbeats | None:
        """Begins to watch whether the others work; None for a process alone.

        Args:
            on_silence: called from a thread, with the rank of a process that hangs.
        """
        if self.count == 1:
            return None
        beats = Heartbeats(rendezvous.open_store(), self.rank, self.count, on_silence)
        beats.start()
        return beats

    @property
    def is_first(self) -> bool:
        return self.rank == 0

    def name_of(self, rank: int) -> str:
        """How messages call one of them."""
        return f"process {rank + 1} of {self.count}"

    @property
    def name(self) -> str:
        return self.name_of(self.rank)

    @property
    def device(self) -> torch.device:
        """The accelerator that this process trains on, whichever its thread takes for the current
        one."""
        device = default_device()
        if self.count > 1 and device.type == "cuda":
            return torch.device("cuda", self.local_rank)
        return device

    def means(self, values: Sequence[float]) -> list[float]:
        """The means of all processes' values, the same in each. One message, and one wait for the device."""
        if self.count == 1:
            return list(values)
        shared = torch.tensor(values, dtype=torch.float64, device=self.device)
        dist.all_reduce(shared)
        return [total / self.count for total in shared.tolist()]

    def agree(self, value: Any) -> Any:
        """What the first process has, in every process."""
        if self.count == 1:
            return value
        shared = [value]
        dist.broadcast_object_list(shared, group=self.waiting, device=torch.device("cpu"))
        return shared[0]

    def leave(self) -> None:
        """Ends what connects this process with the others: threads that would outlive the work, and could crash at its
        exit."""
        if self.count > 1 and dist.is_initialized():
            dist.destroy_process_group()


@dataclass(frozen=True)
class AgreedStop:
    """The stop of the first process, looked at by all at the same place."""

    processes: Processes
    own: StopSignal

    def is_set(self) -> bool:
        return bool(self.processes.agree(self.own.is_set()))


def _open_group(rank: int, count: int, local_rank: int, stop: StopSignal | None) -> None:
    store = rendezvous.open_store(is_host=rank == 0)
    rendezvous.meet(store, rank, count, stop)
    on_cuda = default_device().type == "cuda"
    if on_cuda:
        torch.cuda.set_device(local_rank)
    # torch for Windows has gloo alone.
    backend = "nccl" if on_cuda and dist.is_nccl_available() else "gloo"
    dist.init_process_group(backend, store=store, rank=rank, world_size=count, timeout=COLLECTIVE)
