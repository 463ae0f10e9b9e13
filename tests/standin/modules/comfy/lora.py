"""Stand-in for ComfyUI's LoRA names."""

from typing import Any


def model_lora_keys_unet(model: Any, key_map: dict[str, str]) -> dict[str, str]:
    for key in model.state_dict():
        if key.startswith("diffusion_model.") and key.endswith(".weight"):
            key_map[key.removesuffix(".weight")] = key
    return key_map
