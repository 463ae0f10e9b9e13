"""What a file says of its LTX-2.x video VAE, as diffusers' configuration. No torch.

Two descriptions are known: a flat one with `encoder_blocks` and `decoder_blocks`, and that of LTX-2.5's
diffusion decoder, which nests the encoder.
"""

from collections.abc import Mapping
from typing import Any, get_args

from ...errors import ModelError, shown
from ...formats.tensors import MOST_LAYERS, require_sizes
from ..ltxv.detect import Padding
from ..ltxv.vae_blocks import BASE_CHANNELS, described_vae
from ..video_format import VIDEO_CHANNELS

_DOWN = "LTX2VideoDownBlock3D"
_PATCH = 4


def vae_config(described: Mapping[str, Any]) -> dict[str, Any]:
    """diffusers' configuration of a VAE.

    Args:
        described: the part "vae" of a file's metadata `config`.

    Raises:
        ModelError: diffusers' autoencoder can't be built from it.
    """
    if not described:
        raise ModelError(
            "it has no metadata `config` with a part `vae`, as files of LTX-2.x are published; without it neither "
            "this program nor ComfyUI knows its sizes"
        )
    flat = _with_encoder(described)
    config = described_vae(flat)
    given = flat.get("spatial_padding_mode")
    for padding in (given, flat.get("encoder_spatial_padding_mode")):
        if padding not in (None, *get_args(Padding)):
            raise ModelError(f"spatial_padding_mode {shown(padding)} is not known")
    base, *widths = config["block_out_channels"]
    if base != config["latent_channels"] or len(widths) != len(config["down_block_types"]):
        raise ModelError(
            f"its encoder begins with {base} channels, and {config['latent_channels']} are read"
        )
    _require_sizes(config)
    return config | {
        "block_out_channels": tuple(widths),
        "down_block_types": (_DOWN,) * len(widths),
        "encoder_spatial_padding_mode": given or "zeros",
        "decoder_spatial_padding_mode": given or "reflect",
    }


def _with_encoder(described: Mapping[str, Any]) -> Mapping[str, Any]:
    """The flat description. One that nests the encoder has no decoder that is built from blocks: a small one
    stands for it, which is never loaded."""
    nested = described.get("encoder")
    if not isinstance(nested, Mapping):
        return described
    return {
        "latent_channels": nested.get("out_channels", VIDEO_CHANNELS),
        "patch_size": nested.get("patch_size", _PATCH),
        "encoder_blocks": nested["blocks"],
        "decoder_blocks": [["res_x", 1], ["compress_all", {"multiplier": 1}], ["res_x", 1]],
        "decoder_base_channels": 8,
        "encoder_base_channels": nested.get("base_channels", BASE_CHANNELS),
        "spatial_padding_mode": nested.get("spatial_padding_mode", "zeros"),
    }


def _require_sizes(config: Mapping[str, Any]) -> None:
    names = ("latent_channels", "in_channels", "out_channels", "patch_size", "patch_size_t")
    widths = (*config["block_out_channels"], *config["decoder_block_out_channels"])
    require_sizes(*(config[name] for name in names), *widths)
    layers = (*config["layers_per_block"], *config["decoder_layers_per_block"])
    require_sizes(len(layers), *(count + 1 for count in layers), largest=MOST_LAYERS)
