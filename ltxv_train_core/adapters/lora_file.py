"""The LoRA file that users are handed.

Keys are ComfyUI's (`diffusion_model.<module>.lora_A.weight`), which diffusers reads as well.
alpha / rank is folded into lora_B and no alpha key is written: a loader that finds none takes
the scale for 1, which then is right. Rank and alpha stand in the metadata.
"""

import re
from pathlib import Path

import torch
from diffusers import LTXVideoTransformer3DModel
from peft.utils import get_peft_model_state_dict
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from ..errors import ModelError
from ..files import write_safetensors
from ..layout.names import comfy_name

PREFIX = "diffusion_model."


def lora_tensors(transformer: LTXVideoTransformer3DModel) -> dict[str, Tensor]:
    """The LoRA's tensors under diffusers' names: `<module>.lora_A.weight`, `.lora_B.weight`."""
    tensors = get_peft_model_state_dict(transformer)
    return {name: value.detach().float().cpu().clone() for name, value in tensors.items()}


def write_lora_file(
    path: Path, tensors: dict[str, Tensor], rank: int, alpha: float, metadata: dict[str, str]
) -> None:
    """Writes a LoRA that ComfyUI and diffusers apply just as it was trained.

    Args:
        tensors: as `lora_tensors` gives them.
        metadata: written beside rank and alpha.
    """
    scaled = {
        PREFIX + comfy_name(name): value * (alpha / rank) if ".lora_B." in name else value
        for name, value in tensors.items()
    }
    facts = {"format": "pt", "rank": str(rank), "alpha": str(alpha)}
    write_safetensors(path, scaled, facts | metadata)


def read_lora_file(path: Path) -> dict[str, Tensor]:
    """Tensors of a LoRA file that this package wrote, keys as in the file, scale 1.

    Raises:
        ModelError: if it isn't such a file.
    """
    try:
        tensors = load_file(path)
    except (OSError, SafetensorError) as error:
        raise ModelError(f"{path}: can't be read as a safetensors file ({error})") from error
    foreign = [k for k in tensors if not re.match(r"diffusion_model\..*\.lora_[AB]\.weight$", k)]
    if foreign or not tensors:
        raise ModelError(
            f"{path}: expected keys diffusion_model.*.lora_A.weight and .lora_B.weight, found "
            f"{foreign[:3] or 'none'}"
        )
    return tensors


def add_trained_lora(transformer: LTXVideoTransformer3DModel, path: Path) -> None:
    """Puts a LoRA file into a transformer for sampling, at scale 1.

    Raises:
        ModelError: if the file isn't a LoRA, or names a layer that the transformer lacks.
    """
    tensors = read_lora_file(path)
    ours = {PREFIX + comfy_name(name): module for name, module in transformer.named_modules()}
    with torch.no_grad():
        for key in (k for k in tensors if k.endswith(".lora_A.weight")):
            layer = key.removesuffix(".lora_A.weight")
            if layer not in ours:
                raise ModelError(f"{path}: the model has no layer {layer.removeprefix(PREFIX)}")
            weight = ours[layer].weight
            delta = tensors[f"{layer}.lora_B.weight"] @ tensors[key]
            if delta.shape != weight.shape:
                raise ModelError(
                    f"{path}: {layer.removeprefix(PREFIX)} changes weights of shape "
                    f"{tuple(delta.shape)}, the model's are {tuple(weight.shape)}"
                )
            weight.add_(delta.to(weight))
