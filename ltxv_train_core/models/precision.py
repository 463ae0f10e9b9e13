"""Number formats, by the names that the configuration gives them."""

import torch

_HALF = {"fp16": torch.float16, "bf16": torch.bfloat16}


def base_dtype(mode: str) -> torch.dtype:
    """What the frozen base is held in."""
    return _HALF.get(mode, torch.float32)


def file_dtype(name: str) -> torch.dtype:
    """The number format of `checkpoints.lora_dtype`."""
    return _HALF.get(name, torch.float32)


def autocast(mode: str, device: torch.device) -> torch.autocast:
    """The context of a forward pass."""
    return torch.autocast(device.type, _HALF.get(mode, torch.bfloat16), enabled=mode in _HALF)
