"""The miniature as the single file that ComfyUI's stock checkpoint loader reads."""

import json
import re
from pathlib import Path

import torch
from torch import Tensor, nn

from ..files import write_safetensors
from .vae import LEVELS, PATCH_PX, build_vae
from .weights import CAUSAL, TRANSFORMER_CONFIG, load_transformer, load_vae_factors

# ComfyUI's autoencoder is fixed to 128 channels; the function computed stays the same.
VAE_WIDTH = 128

_TRANSFORMER_NAMES = (
    (r"^proj_in\.", "patchify_proj."),
    (r"^time_embed\.", "adaln_single."),
    (r"\.norm_(q|k)\.", r".\1_norm."),
)
_VAE_NAMES = (
    (r"\.downsamplers\.0\.", "."),
    (r"\.upsamplers\.0\.", "."),
    (r"^encoder\.mid_block\.", f"encoder.down_blocks.{LEVELS}."),
    (r"^decoder\.mid_block\.", "decoder.up_blocks.0."),
    (r"\.resnets\.", ".res_blocks."),
    (r"^latents_mean$", "per_channel_statistics.mean-of-means"),
    (r"^latents_std$", "per_channel_statistics.std-of-means"),
)


def export(path: Path) -> Path:
    """Writes transformer and VAE in float32 (79 MB, most of it zeros); returns `path`."""
    tensors = _renamed(load_transformer(), _TRANSFORMER_NAMES, "model.diffusion_model.")
    factors = load_vae_factors()
    tensors |= _renamed(build_vae(factors, VAE_WIDTH), _VAE_NAMES, "vae.")
    tensors |= _unused_statistics(factors.latents_std)
    write_safetensors(path, tensors, {"format": "pt", "config": json.dumps(_config())})
    return path


def _renamed(
    model: nn.Module, names: tuple[tuple[str, str], ...], prefix: str
) -> dict[str, Tensor]:
    renamed = {}
    for name, tensor in model.state_dict().items():
        for pattern, replacement in names:
            name = re.sub(pattern, replacement, name)
        renamed[prefix + name] = tensor
    return renamed


def _unused_statistics(latents_std: Tensor) -> dict[str, Tensor]:
    """Entries that ComfyUI has names for and doesn't read, so that it warns of nothing missing."""
    prefix = "vae.per_channel_statistics."
    return {
        prefix + "mean-of-stds": torch.ones_like(latents_std),
        prefix + "mean-of-stds_over_std-of-means": 1 / latents_std,
        prefix + "channel": torch.arange(len(latents_std)).float(),
    }


def _config() -> dict[str, dict]:
    blocks = [["compress_all", 1]] * LEVELS + [["res_x", 1]]
    return {
        "transformer": TRANSFORMER_CONFIG | {"causal_temporal_positioning": CAUSAL},
        "vae": {
            "_class_name": "CausalVideoAutoencoder",
            "dims": 3,
            "in_channels": 3,
            "out_channels": 3,
            "latent_channels": TRANSFORMER_CONFIG["in_channels"],
            "encoder_blocks": blocks,
            "decoder_blocks": blocks,
            "patch_size": PATCH_PX,
            "norm_layer": "pixel_norm",
            "latent_log_var": "uniform",
            "use_quant_conv": False,
            "causal_decoder": False,
            "timestep_conditioning": False,
            "spatial_padding_mode": "zeros",
        },
    }
