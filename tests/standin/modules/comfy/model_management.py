"""Stand-in for ComfyUI's memory and interrupt handling.

Attributes:
    unloads: how often the models were unloaded.
    interrupt_threads: threads that the interrupt was raised in.
"""

import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

unloads = 0
interrupt_threads: list[int] = []
_interrupted = threading.Event()


class InterruptProcessingException(BaseException):
    """Newer versions derive it from BaseException, older ones from Exception."""


def interrupt_current_processing(value: bool = True) -> None:
    if value:
        _interrupted.set()
    else:
        _interrupted.clear()


def throw_exception_if_processing_interrupted() -> None:
    if _interrupted.is_set():
        _interrupted.clear()
        interrupt_threads.append(threading.get_ident())
        raise InterruptProcessingException


def unload_all_models() -> None:
    global unloads
    unloads += 1


def soft_empty_cache() -> None:
    """There is no accelerator to free."""


def get_torch_device() -> "torch.device":
    """What ComfyUI computes on with --cpu."""
    import torch

    return torch.device("cpu")
