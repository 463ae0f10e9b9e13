"""Number formats, by the names that the configuration gives them."""

import torch

_HALF = {"fp16": torch.float16, "bf16": torch.bfloat16}


def base_dtype(mode: str) -> torch.dtype:
    """What the frozen base is held in."""
    return _HALF.get(mode, torch.float32)


def vae_dtype(device: torch.device) -> torch.dtype:
    """What a device holds the VAE in: bfloat16 where it computes in it, which NVIDIA's before Ampere and
    Apple's older ones don't; float32 elsewhere, as it overflows in fp16."""
    computes = device.type == "xpu" or (device.type == "cuda" and computes_bfloat16(device))
    return torch.bfloat16 if computes else torch.float32


def text_encoder_dtype(device: torch.device) -> torch.dtype:
    """What a device holds the text encoder in: float32 on a CPU, bfloat16 elsewhere.

    Older GPUs imitate it, slowly, but T5-XXL in float32 is larger than most of them.
    """
    return torch.float32 if device.type == "cpu" else torch.bfloat16


def computes_bfloat16(device: torch.device) -> bool:
    """Whether an accelerator of the kind cuda computes in bfloat16, and not only in software, as PyTorch does on
    older GPUs."""
    is_amd = torch.version.hip is not None
    return is_amd or torch.cuda.get_device_capability(device)[0] >= 8


def file_dtype(name: str) -> torch.dtype:
    """The number format of `checkpoints.lora_dtype`."""
    return _HALF.get(name, torch.float32)


def autocast(mode: str, device: torch.device) -> torch.autocast:
    """The context of a forward pass."""
    return torch.autocast(device.type, _HALF.get(mode, torch.bfloat16), enabled=mode in _HALF)
