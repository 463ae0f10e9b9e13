"""The device that models compute on. Whoever starts the work chooses it: ComfyUI its own, a command line
`LTXV_TRAIN_DEVICE`; otherwise it is the accelerator of this machine."""

from __future__ import annotations

import gc
import os
from typing import TYPE_CHECKING, Any

import psutil

from ..errors import ConfigurationError, shown

if TYPE_CHECKING:
    import torch


VARIABLE = "LTXV_TRAIN_DEVICE"
"""Names the device in the environment, for example "cpu" or "cuda:1"; processes that train for this one get it so."""

KINDS = ("cuda", "xpu", "mps", "cpu")
"""Those that this program computes on. AMD's cards are of the kind cuda."""

_chosen: torch.device | None = None


def use_device(device: torch.device | None) -> None:
    """Chooses the device of this process; None takes the choice back."""
    global _chosen
    _chosen = device


def default_device() -> torch.device:
    """The device that was chosen, or the accelerator of this machine, or the CPU.

    Raises:
        ConfigurationError: it is of a kind that this program doesn't compute on.
    """
    device = _chosen or _named() or _accelerator()
    if device.type not in KINDS:
        name = "privateuseone (DirectML)" if device.type == "privateuseone" else device.type
        raise ConfigurationError(
            [
                f"this machine's device is of the kind {name}, on which this program doesn't train; it "
                f"knows {', '.join(KINDS)}. Start ComfyUI with --cpu, or set {VARIABLE} to cpu, to train "
                "on the processor"
            ]
        )
    return device


def device_environment() -> dict[str, str]:
    """What a process that works for this one needs in its environment."""
    return {} if _chosen is None else {VARIABLE: str(_chosen)}


def _named() -> torch.device | None:
    import torch

    name = os.environ.get(VARIABLE)
    if not name:
        return None
    try:
        return torch.device(name)
    except RuntimeError as error:
        raise ConfigurationError(
            [f"{VARIABLE} {shown(name)}: is no device; expected for example cpu, cuda or cuda:1"]
        ) from error


def _accelerator() -> torch.device:
    import torch

    accelerator = getattr(torch, "accelerator", None)  # since torch 2.6
    if accelerator is not None and accelerator.is_available():
        found: torch.device = accelerator.current_accelerator()
        return found
    if torch.cuda.is_available():
        return torch.device("cuda")
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")


def free_bytes(device: torch.device) -> int:
    """Memory that new tensors can have."""
    import torch

    backend = _backend(device)
    if hasattr(backend, "mem_get_info"):
        unused = backend.memory_reserved(device) - backend.memory_allocated(device)
        free: int = backend.mem_get_info(device)[0] + unused
        return free
    if device.type == "mps":
        return torch.mps.recommended_max_memory() - torch.mps.current_allocated_memory()
    return int(psutil.virtual_memory().available)


def total_bytes(device: torch.device) -> int:
    """Memory that a device has, whoever holds it now; the host's for a CPU."""
    import torch

    backend = _backend(device)
    if hasattr(backend, "mem_get_info"):
        total: int = backend.mem_get_info(device)[1]
        return total
    if device.type == "mps":
        return torch.mps.recommended_max_memory()
    return int(psutil.virtual_memory().total)


def peak_bytes(device: torch.device) -> float:
    """The most memory that tensors had since the last call, as far as the device tells; that of Apple's is
    what they have now, and of a CPU it is the memory of this process."""
    import torch

    backend = _backend(device)
    if hasattr(backend, "reset_peak_memory_stats"):
        peak = float(backend.max_memory_allocated(device))
        backend.reset_peak_memory_stats(device)
        return peak
    if device.type == "mps":
        return float(torch.mps.current_allocated_memory())
    return float(psutil.Process().memory_info().rss)


def device_count(device: torch.device) -> int:
    """How many devices of this kind the machine has."""
    backend = _backend(device)
    return int(backend.device_count()) if hasattr(backend, "device_count") else 1


def wait_for(device: torch.device) -> None:
    """Returns when a device has done what it was told."""
    backend = _backend(device)
    if backend is not None:
        backend.synchronize()


def holds_float8() -> bool:
    """Whether this machine's device knows 8 bit floating point; Apple's doesn't."""
    return default_device().type != "mps"


def free_memory() -> None:
    """Gives memory of dropped tensors back, also of those that refer to each other: the device's, and
    pinned memory of the host."""
    import torch

    gc.collect()
    empty_cache()
    accelerator = getattr(torch, "accelerator", None)
    # Older versions of torch have no public name for it.
    empty = getattr(accelerator, "empty_host_cache", getattr(torch._C, "_host_emptyCache", None))
    if empty is not None and _backend(default_device()) is not None:
        empty()


def empty_cache() -> None:
    """Gives memory of dropped tensors back to the device."""
    backend = _backend(default_device())
    if backend is not None:
        backend.empty_cache()


def moved(tensor: torch.Tensor, device: torch.device) -> torch.Tensor:
    """A tensor of the host on a device. A device that has streams copies it from pinned memory, while the host goes on."""
    if stream_module(device) is None or tensor.device.type != "cpu":
        return tensor.to(device)
    try:
        pinned = tensor.pin_memory()
    except RuntimeError:  # there is no more of it
        return tensor.to(device)
    return pinned.to(device, non_blocking=True)


def side_stream(device: torch.device) -> Any:
    """A queue of work that a device does beside its usual one; None where it has one queue alone."""
    module = stream_module(device)
    return None if module is None else module.Stream(device)


def stream_module(device: torch.device) -> Any:
    """torch's module of a device that has several queues of work (streams and events); None for others."""
    backend = _backend(device)
    return backend if hasattr(backend, "Stream") else None


def _backend(device: torch.device) -> Any:
    """torch's module for an accelerator; None for the CPU."""
    import torch

    return None if device.type == "cpu" else getattr(torch, device.type)
