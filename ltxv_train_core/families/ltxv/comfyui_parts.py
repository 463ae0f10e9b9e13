"""Parts of an open model as ComfyUI builds them: the files it reads, or tensors under its names."""

from typing import Any

from ..model import Model
from ..names import TEXT_ENCODER, TRANSFORMER, VAE
from ..opener import InFile, Tensors
from .checkpoint_export import (
    config_metadata,
    transformer_tensors,
    unused_statistics,
    vae_tensors,
)
from .diffusers_folder import TransformerFolder
from .miniature_model import MiniatureTransformer, MiniatureVae
from .single_file import TransformerFile, VaeFile
from .t5_file import T5File

_COMFYUI_SIGN = "patchify_proj.weight"


def comfyui_file(model: Model, part: str) -> InFile | None:
    """Where a part lies that ComfyUI reads by itself; None for diffusers' names and layouts."""
    found = model.part(part)
    if isinstance(found, T5File):
        return (found.header.path, found.prefix) if not found.prefix else None
    if isinstance(found, VaeFile):
        return found.header.path, found.part.prefix
    if isinstance(found, TransformerFile):
        prefix = found.prefix
        is_its = f"{prefix}{_COMFYUI_SIGN}" in found.header.tensors
        return (found.header.path, prefix) if is_its else None
    return None


def comfyui_tensors(model: Model, part: str) -> Tensors:
    """A transformer or VAE under ComfyUI's names without a prefix, from any source."""
    assert part != TEXT_ENCODER
    return _transformer(model) if part == TRANSFORMER else _vae(model)


def _transformer(model: Model) -> Tensors:
    import torch

    part = model.transformer
    assert isinstance(part, MiniatureTransformer | TransformerFile | TransformerFolder)
    dtype = (
        torch.float32 if isinstance(part, MiniatureTransformer) else torch.bfloat16
    )  # as folders are published
    transformer: Any = part.load(dtype)
    metadata = config_metadata(transformer.config, part.causal_positions)
    return transformer_tensors(transformer.state_dict(), ""), metadata


def _vae(model: Model) -> Tensors:
    part = model.part(VAE)
    if isinstance(part, MiniatureVae):
        from .miniature.comfy_file import wide_vae

        vae: Any = wide_vae()
    else:
        import torch

        vae = part.load(torch.bfloat16).vae
    tensors = vae_tensors(vae.state_dict(), vae.config, "")
    return tensors | unused_statistics(vae.latents_std, ""), config_metadata(vae=vae.config)
