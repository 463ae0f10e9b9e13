"""The miniature as the single file that ComfyUI's stock checkpoint loader reads."""

from pathlib import Path

from diffusers import AutoencoderKLLTXVideo
from torch import Tensor

from ....storage.tensors import write_safetensors
from ..checkpoint_export import (
    config_metadata,
    transformer_tensors,
    unused_statistics,
    vae_tensors,
)
from ..key_names import VAE_PREFIX
from ..vae_blocks import Config
from .shipped import CAUSAL, TRANSFORMER_CONFIG
from .vae import build_vae
from .weights import load_transformer, load_vae_factors

# ComfyUI's autoencoder is fixed to 128 channels; the function computed stays the same.
VAE_WIDTH = 128


def export(path: Path) -> Path:
    """Writes transformer and VAE in float32 (79 MB, most of it zeros); returns `path`."""
    vae, config = vae_part()
    tensors = {**transformer_tensors(load_transformer().state_dict()), **vae}
    write_safetensors(path, tensors, config_metadata(TRANSFORMER_CONFIG, CAUSAL, config))
    return path


def vae_part() -> tuple[dict[str, Tensor], Config]:
    """The VAE's tensors by ComfyUI's names, and its configuration in diffusers' words."""
    vae = wide_vae()
    named = vae_tensors(vae.state_dict(), vae.config)
    return named | unused_statistics(vae.latents_std, VAE_PREFIX), vae.config


def wide_vae() -> AutoencoderKLLTXVideo:
    """The miniature's VAE, as wide as ComfyUI's is."""
    return build_vae(load_vae_factors(), VAE_WIDTH)
