"""Stand-in for ComfyUI's LoRA loading: notes what was patched."""

from typing import Any

from .lora import model_lora_keys_unet


def load_lora_for_models(
    model: Any, clip: Any, lora: dict[str, Any], strength_model: float, strength_clip: float
) -> tuple[Any, Any]:
    places = model_lora_keys_unet(model.model, {})
    modules = {key.split(".lora_")[0] for key in lora}
    patched = model.clone()
    patched.add_patches({places[module]: module for module in modules}, strength_model)
    return patched, clip
