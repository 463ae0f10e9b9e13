"""The machine that trains, in words that may be shared: devices and versions, no names of people or computers."""

import os
import platform
from importlib.metadata import PackageNotFoundError, version

import torch

from ..units import byte_size
from .device import free_bytes, total_bytes

_PACKAGES = ("torch", "triton", "diffusers", "transformers", "peft", "bitsandbytes")


def described(device: torch.device) -> list[str]:
    """The device, its driver, and the versions of what works on it."""
    lines = [
        f"device: {device}, {byte_size(free_bytes(device))} of {byte_size(total_bytes(device))} free"
    ]
    if device.type == "cuda":
        properties = torch.cuda.get_device_properties(device)
        made = f"ROCm {torch.version.hip}" if torch.version.hip else f"CUDA {torch.version.cuda}"
        lines.append(f"{properties.name}, capability {properties.major}.{properties.minor}, {made}")
        lines.append(f"driver: {_driver(device)}")
    elif device.type == "xpu":
        found = torch.xpu.get_device_properties(device)
        lines.append(f"{found.name}, driver {found.driver_version}")
    elif device.type == "cpu":
        lines.append(f"{os.cpu_count()} cores, {torch.get_num_threads()} threads")
    lines.append(f"{platform.platform()}, Python {platform.python_version()}")
    lines.append(", ".join(f"{name} {_version(name)}" for name in _PACKAGES))
    return lines


def _driver(device: torch.device) -> str:
    """Its version, where NVIDIA's library of management is there to ask."""
    try:
        import pynvml

        pynvml.nvmlInit()
        return str(pynvml.nvmlSystemGetDriverVersion())
    except Exception:  # it is a help, and no condition
        return "its version is not known (pip install nvidia-ml-py tells it)"


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "missing"
