"""The miniature as the single file that ComfyUI's stock checkpoint loader reads."""

from pathlib import Path

import torch
from torch import Tensor

from ....storage.tensors import write_safetensors
from ..checkpoint_export import config_metadata, transformer_tensors, vae_tensors
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
    factors = load_vae_factors()
    vae = build_vae(factors, VAE_WIDTH)
    named = vae_tensors(vae.state_dict(), vae.config)
    return named | _unused_statistics(factors.latents_std), vae.config


def _unused_statistics(latents_std: Tensor) -> dict[str, Tensor]:
    """Entries that ComfyUI has names for and doesn't read, so that it warns of nothing missing."""
    prefix = f"{VAE_PREFIX}per_channel_statistics."
    return {
        prefix + "mean-of-stds": torch.ones_like(latents_std),
        prefix + "mean-of-stds_over_std-of-means": 1 / latents_std,
        prefix + "channel": torch.arange(len(latents_std)).float(),
    }
