"""What a single checkpoint file says of its model, and a diffusers model written as one.

The metadata `config` is JSON with the parts "transformer" and "vae". ComfyUI's checkpoint loader
builds both from it (newer versions' diffusion model loader as well); without it they take the
sizes of the 2B model and positions that are not causal.
"""

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from ..names import TRANSFORMER_PREFIX
from .key_names import VAE_PREFIX, comfy_vae_names
from .layers import LAYERS
from .vae_blocks import Config, decoder_blocks, encoder_blocks

if TYPE_CHECKING:
    from torch import Tensor

T = TypeVar("T")

# As `modelspec.architecture` in a file's metadata names a whole transformer.
TRANSFORMER_ARCHITECTURE = "ltx-video"
CAUSAL_POSITIONS = "causal_temporal_positioning"

# Of a transformer's configuration, what both sides write under the same name.
_TRANSFORMER_FIELDS = (
    "in_channels",
    "out_channels",
    "num_layers",
    "num_attention_heads",
    "attention_head_dim",
    "cross_attention_dim",
    "caption_channels",
    "attention_bias",
    "norm_elementwise_affine",
    "norm_eps",
)
_TRANSFORMER_FACTS = {
    "_class_name": "Transformer3DModel",
    "activation_fn": "gelu-approximate",
    "qk_norm": "rms_norm",
    "standardization_norm": "rms_norm",
    "positional_embedding_type": "rope",
    "positional_embedding_theta": 10000.0,
    "positional_embedding_max_pos": [20, 2048, 2048],
    "timestep_scale_multiplier": 1000,
}
_VAE_FIELDS = ("in_channels", "out_channels", "latent_channels", "patch_size")
_VAE_FACTS = {
    "_class_name": "CausalVideoAutoencoder",
    "dims": 3,
    "norm_layer": "pixel_norm",
    "latent_log_var": "uniform",
    "use_quant_conv": False,
    "spatial_padding_mode": "zeros",
}


def transformer_tensors(state: Mapping[str, T], prefix: str = TRANSFORMER_PREFIX) -> dict[str, T]:
    """A diffusers transformer's tensors under ComfyUI's names."""
    return {prefix + LAYERS.comfy_name(name): tensor for name, tensor in state.items()}


def vae_tensors(state: Mapping[str, T], config: Config, prefix: str = VAE_PREFIX) -> dict[str, T]:
    """A diffusers VAE's tensors under ComfyUI's names, without the statistics that nothing reads.

    Args:
        config: diffusers' configuration of the VAE.
    """
    names = comfy_vae_names(state, config)
    return {prefix + names[name]: tensor for name, tensor in state.items()}


def unused_statistics(latents_std: "Tensor", prefix: str = VAE_PREFIX) -> "dict[str, Tensor]":
    """Entries of a VAE that ComfyUI has names for and doesn't read, so that it warns of nothing missing."""
    import torch

    prefix = f"{prefix}per_channel_statistics."
    return {
        prefix + "mean-of-stds": torch.ones_like(latents_std),
        prefix + "mean-of-stds_over_std-of-means": 1 / latents_std,
        prefix + "channel": torch.arange(len(latents_std)).float(),
    }


def config_metadata(
    transformer: Config | None = None, causal_positions: bool = False, vae: Config | None = None
) -> dict[str, str]:
    """The metadata that make ComfyUI build the same model.

    Args:
        transformer, vae: diffusers' configurations; None for a file without that part.
        causal_positions: what the sampler does with the frames' positions.
    """
    described: dict[str, Any] = {}
    if transformer is not None:
        described["transformer"] = {
            **_TRANSFORMER_FACTS,
            **{name: transformer[name] for name in _TRANSFORMER_FIELDS if name in transformer},
            CAUSAL_POSITIONS: causal_positions,
        }
    if vae is not None:
        described["vae"] = {
            **_VAE_FACTS,
            **{name: vae[name] for name in _VAE_FIELDS},
            "encoder_base_channels": vae["block_out_channels"][0],
            "encoder_blocks": [block.entry for block in encoder_blocks(vae)],
            "decoder_blocks": [block.entry for block in decoder_blocks(vae)][::-1],
            "causal_decoder": vae["decoder_causal"],
            "timestep_conditioning": vae["timestep_conditioning"],
        }
    return {"format": "pt", "config": json.dumps(described)}
