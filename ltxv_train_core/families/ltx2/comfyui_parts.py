"""Parts of an open model as ComfyUI builds them: the files it reads, or tensors under its names."""

from ...errors import ModelError
from ..ltxv.checkpoint_export import config_metadata
from ..model import Model
from ..names import TRANSFORMER, TRANSFORMER_PREFIX, VAE
from ..opener import InFile, Tensors
from .miniature.shipped import MINIATURE
from .single_file import TransformerFile
from .vae_file import VideoVaeFile


def comfyui_file(model: Model, part: str) -> InFile | None:
    """Where a part lies that ComfyUI reads by itself; None where it has to be converted."""
    found = model.part(part)
    if isinstance(found, TransformerFile | VideoVaeFile):
        return found.header.path, found.prefix
    return None


def comfyui_tensors(model: Model, part: str) -> Tensors:
    """The transformer with its connectors, or the miniature's VAE, under ComfyUI's names without a prefix.

    Raises:
        ModelError: a file has no such part that this program reads.
    """
    import torch

    model.part(part).require()
    if part == TRANSFORMER:
        dtype = torch.float32 if model.name == MINIATURE else torch.bfloat16
        denoiser = model.transformer.denoiser(model.load_transformer(dtype))
        named, metadata = denoiser.as_checkpoint(denoiser.transformer.state_dict())
        return {n.removeprefix(TRANSFORMER_PREFIX): t for n, t in named.items()}, metadata
    if part == VAE and model.name == MINIATURE:
        from ..ltxv.key_names import VAE_PREFIX
        from ..ltxv.miniature.comfy_file import vae_part

        tensors, config = vae_part()
        return {n.removeprefix(VAE_PREFIX): t for n, t in tensors.items()}, config_metadata(
            vae=config
        )
    raise ModelError(f"{model.name}: its {part} is loaded by ComfyUI's own nodes")
