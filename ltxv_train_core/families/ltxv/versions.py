"""The public versions of LTX-Video: their sizes, their positions and where they are published."""

from dataclasses import dataclass
from typing import Any

from ..family import Sampling

MAIN_REPOSITORY = "Lightricks/LTX-Video"

_TRANSFORMER = {
    "in_channels": 128,
    "out_channels": 128,
    "num_attention_heads": 32,
    "caption_channels": 4096,
}
TRANSFORMER_2B = _TRANSFORMER | {
    "num_layers": 28,
    "attention_head_dim": 64,
    "cross_attention_dim": 2048,
}
TRANSFORMER_13B = _TRANSFORMER | {
    "num_layers": 48,
    "attention_head_dim": 128,
    "cross_attention_dim": 4096,
}

_VAE = {
    "in_channels": 3,
    "out_channels": 3,
    "latent_channels": 128,
    "patch_size": 4,
    "patch_size_t": 1,
    "encoder_causal": True,
    "decoder_causal": False,
    "spatial_compression_ratio": 32,
    "temporal_compression_ratio": 8,
}
_FIRST_ENCODER = {
    "block_out_channels": (128, 256, 512, 512),
    "down_block_types": ("LTXVideoDownBlock3D",) * 4,
    "layers_per_block": (4, 3, 3, 3, 4),
    "spatio_temporal_scaling": (True, True, True, False),
    "downsample_type": ("conv",) * 4,
}
_LATER_DECODER = {
    "decoder_block_out_channels": (256, 512, 1024),
    "decoder_spatio_temporal_scaling": (True, True, True),
    "upsample_residual": (True, True, True),
    "upsample_factor": (2, 2, 2),
    "timestep_conditioning": True,
}
VAE_090 = {
    **_VAE,
    **_FIRST_ENCODER,
    "decoder_block_out_channels": (128, 256, 512, 512),
    "decoder_layers_per_block": (4, 3, 3, 3, 4),
    "decoder_spatio_temporal_scaling": (True, True, True, False),
    "decoder_inject_noise": (False,) * 5,
    "upsample_residual": (False,) * 4,
    "upsample_factor": (1,) * 4,
    "timestep_conditioning": False,
}
VAE_091 = {
    **_VAE,
    **_FIRST_ENCODER,
    **_LATER_DECODER,
    "decoder_layers_per_block": (5, 6, 7, 8),
    "decoder_inject_noise": (True, True, True, False),
}
VAE_095 = {
    **_VAE,
    **_LATER_DECODER,
    "block_out_channels": (128, 256, 512, 1024, 2048),
    "down_block_types": ("LTXVideo095DownBlock3D",) * 4,
    "layers_per_block": (4, 6, 6, 2, 2),
    "spatio_temporal_scaling": (True, True, True, True),
    "downsample_type": ("spatial", "temporal", "spatiotemporal", "spatiotemporal"),
    "decoder_layers_per_block": (5, 5, 5, 5),
    "decoder_inject_noise": (False,) * 4,
}


SAMPLING = Sampling(steps=50, guidance_scale=3.0)
DISTILLED_096 = Sampling(steps=8, guidance_scale=1.0)
_LEVELS = (1.0, 0.9937, 0.9875, 0.9812, 0.975, 0.9094, 0.725)
"""Of the first pass in Lightricks' configuration files of the distilled 0.9.7."""
DISTILLED = Sampling(len(_LEVELS), 1.0, _LEVELS)

STG_BLOCKS = {28: 19, 48: 28}
"""The block that Lightricks' configuration files of the dev models leave self-attention out of, by the number of
blocks; of the 13B one that most of its steps do."""

TEXT_ENCODER_NEEDED = "T5-XXL (4096)"
T5_XXL_BYTES = 9_500_000_000
"""Of its encoder, in bfloat16."""


@dataclass(frozen=True)
class Version:
    """A published model.

    Attributes:
        transformer, vae: diffusers' configurations.
        causal_positions: what its samplers do (`causal_temporal_positioning`).
        repository: where it is on the Hugging Face Hub.
        file: its single file there; None where the repository has the diffusers layout.
        sampling: how it is meant to be sampled.
    """

    transformer: dict[str, Any]
    vae: dict[str, Any]
    causal_positions: bool
    repository: str
    file: str | None = None
    sampling: Sampling = SAMPLING


def _single_file(transformer: dict[str, Any], name: str, sampling: Sampling = SAMPLING) -> Version:
    return Version(transformer, VAE_095, True, MAIN_REPOSITORY, f"{name}.safetensors", sampling)


def _diffusers_13b(repository: str, sampling: Sampling = SAMPLING) -> Version:
    return Version(TRANSFORMER_13B, VAE_095, True, repository, None, sampling)


VERSIONS = {
    "LTXV_2B_0.9.0": Version(TRANSFORMER_2B, VAE_090, False, MAIN_REPOSITORY),
    "LTXV_2B_0.9.1": Version(TRANSFORMER_2B, VAE_091, False, "a-r-r-o-w/LTX-Video-0.9.1-diffusers"),
    "LTXV_2B_0.9.5": Version(TRANSFORMER_2B, VAE_095, True, "Lightricks/LTX-Video-0.9.5"),
    "LTXV_2B_0.9.6_DEV": _single_file(TRANSFORMER_2B, "ltxv-2b-0.9.6-dev-04-25"),
    "LTXV_2B_0.9.6_DISTILLED": _single_file(
        TRANSFORMER_2B, "ltxv-2b-0.9.6-distilled-04-25", DISTILLED_096
    ),
    "LTXV_13B_097_DEV": _diffusers_13b("Lightricks/LTX-Video-0.9.7-dev"),
    "LTXV_13B_097_DISTILLED": _diffusers_13b("Lightricks/LTX-Video-0.9.7-distilled", DISTILLED),
    "LTXV_2B_0.9.8_DISTILLED": _single_file(TRANSFORMER_2B, "ltxv-2b-0.9.8-distilled", DISTILLED),
    "LTXV_13B_098_DEV": _single_file(TRANSFORMER_13B, "ltxv-13b-0.9.8-dev"),
    "LTXV_13B_098_DISTILLED": _single_file(TRANSFORMER_13B, "ltxv-13b-0.9.8-distilled", DISTILLED),
}
