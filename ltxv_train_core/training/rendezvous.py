"""How processes that a launcher has started find each other."""

import os
import time
from datetime import timedelta

import torch.distributed as dist

from ..errors import LTXVTrainError
from ..events import NeverStop, StopSignal, raise_if_stopped

PATIENCE = timedelta(minutes=5)
"""How long they wait for each other."""

_POLL_SECONDS = 0.1


class RendezvousError(LTXVTrainError):
    """Not all processes came."""


def open_store(is_host: bool = False) -> dist.Store:
    """A connection to what is stored for all processes.

    As torch's own `env://`, but nobody waits in it for the others: `meet` can be stopped.

    Args:
        is_host: this is the first process, which keeps the store where the launcher keeps none.
    """
    by_launcher = os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True"
    store = dist.TCPStore(
        os.environ["MASTER_ADDR"],
        int(os.environ["MASTER_PORT"]),
        is_master=is_host and not by_launcher,
        timeout=PATIENCE,
        wait_for_workers=False,
    )
    attempt = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
    return dist.PrefixStore(f"ltxv-train/{attempt}", store)


def meet(store: dist.Store, rank: int, count: int, stop: StopSignal | None = None) -> None:
    """Waits until all processes are here.

    Raises:
        RendezvousError: some did not come.
        Cancelled: it was stopped.
    """
    keys = [f"here/{each}" for each in range(count)]
    store.set(keys[rank], "")
    until = time.monotonic() + PATIENCE.total_seconds()
    while not store.check(keys):
        raise_if_stopped(stop or NeverStop())
        if time.monotonic() > until:
            missing = [str(i + 1) for i, key in enumerate(keys) if not store.check([key])]
            raise RendezvousError(
                f"process {', '.join(missing)} of {count} did not come within "
                f"{PATIENCE.total_seconds() / 60:g} minutes; look whether it was started, and whether "
                f"it reaches {os.environ.get('MASTER_ADDR')}:{os.environ.get('MASTER_PORT')}"
            )
        time.sleep(_POLL_SECONDS)
