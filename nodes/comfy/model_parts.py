"""The parts of a base model as ComfyUI's MODEL, CLIP and VAE, for every source that training knows.

A file goes to ComfyUI's own loader, which keeps it in the precision in which it is stored.
"""

from typing import TYPE_CHECKING, Any

import comfy.sd
import comfy.utils
import folder_paths
import torch

from ...ltxv_train_core.errors import ModelError
from ...ltxv_train_core.families.names import (
    TEXT_ENCODER,
    TRANSFORMER,
    TRANSFORMER_PREFIX,
    VAE,
)
from ...ltxv_train_core.families.open import opener_of
from ...ltxv_train_core.models.device import default_device
from .core_clip import CoreClip
from .newer_comfyui import too_old_for

if TYPE_CHECKING:
    from ...ltxv_train_core.families.model import Model
    from ...ltxv_train_core.families.opener import Tensors


def load_model(model: "Model") -> Any:
    """Its transformer as MODEL. Raises `ModelError` when it can't be loaded."""
    tensors, metadata = _tensors(model, TRANSFORMER)
    named = {TRANSFORMER_PREFIX + name: tensor for name, tensor in tensors.items()}
    found = comfy.sd.load_state_dict_guess_config(
        named, output_vae=False, output_clip=False, metadata=metadata
    )
    if found is None or found[0] is None:
        why = (
            too_old_for(model.family.name) or "this ComfyUI doesn't know its transformer; update it"
        )
        raise ModelError(f"{model.name}: {why}")
    return found[0]


def load_vae(model: "Model") -> Any:
    """Its VAE. Raises `ModelError` when it can't be loaded."""
    tensors, metadata = _tensors(model, VAE)
    vae = comfy.sd.VAE(sd=tensors, metadata=metadata)
    vae.throw_exception_if_invalid()
    return vae


def load_clip(model: "Model") -> Any:
    """Its text encoder. Raises `ModelError` when it can't be loaded."""
    file = opener_of(model).comfyui_file(model, TEXT_ENCODER)
    if file is None:
        device = default_device()
        dtype = torch.float32 if device.type == "cpu" else torch.bfloat16
        return CoreClip(model.load_text_encoder(dtype), device)
    return comfy.sd.load_clip(
        [str(file[0])],
        embedding_directory=folder_paths.get_folder_paths("embeddings"),
        clip_type=comfy.sd.CLIPType.LTXV,
    )


def _tensors(model: "Model", part: str) -> "Tensors":
    """A part's tensors under ComfyUI's names without a prefix, with a file's metadata."""
    opener = opener_of(model)
    file = opener.comfyui_file(model, part)
    if file is None:
        return opener.comfyui_tensors(model, part)
    path, prefix = file
    tensors, metadata = comfy.utils.load_torch_file(str(path), return_metadata=True)
    own = {n.removeprefix(prefix): t for n, t in tensors.items() if n.startswith(prefix)}
    return own, metadata or {}
