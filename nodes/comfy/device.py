"""ComfyUI's device is the one that this pack trains on: --cpu, --cuda-device and the like hold for both."""

import comfy.model_management


def use_comfyui_device() -> None:
    """Lets the core compute on the device that ComfyUI computes on."""
    from ...ltxv_train_core.models.device import use_device

    use_device(comfy.model_management.get_torch_device())
