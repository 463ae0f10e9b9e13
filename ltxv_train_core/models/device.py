import gc

import psutil
import torch


def default_device() -> torch.device:
    """The accelerator of this machine, or the CPU."""
    if torch.cuda.is_available():
        return torch.device("cuda")
    if torch.backends.mps.is_available():
        return torch.device("mps")
    return torch.device("cpu")


def free_bytes(device: torch.device) -> int:
    """Memory that new tensors can have."""
    if device.type == "cuda":
        unused = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return torch.cuda.mem_get_info(device)[0] + unused
    if device.type == "mps":
        return torch.mps.recommended_max_memory() - torch.mps.current_allocated_memory()
    return int(psutil.virtual_memory().available)


def holds_float8() -> bool:
    """Whether this machine's device knows 8 bit floating point; Apple's doesn't."""
    return default_device().type != "mps"


def free_memory() -> None:
    """Gives memory of dropped tensors back to the device, also of those that refer to each other."""
    gc.collect()
    empty_cache()


def empty_cache() -> None:
    """Gives memory of dropped tensors back to the device."""
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    elif torch.backends.mps.is_available():
        torch.mps.empty_cache()
