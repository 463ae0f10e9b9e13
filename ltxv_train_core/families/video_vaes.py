"""Which family a video VAE is of, by the names of its tensors in published files, which ComfyUI keeps. No torch.

LTX-Video and LTX-2 have the same channels and, since LTX-Video 0.9.5, the same encoder layout: latents of the
wrong one look right and mean other pictures.
"""

from collections.abc import Collection

from .ltx2.formats import NAME as LTX2
from .ltxv.video_format import NAME as LTXV

_TIMESTEPS = "decoder.timestep_scale_multiplier"
"""Since LTX-Video 0.9.1 the decoder takes a timestep; those of LTX-2 take none."""
DIFFUSION_DECODER = "decoder.conv_in_x_t.weight"
_RESIDUAL_DOWNSAMPLING = "encoder.down_blocks.1.conv.conv.weight"
_FIRST_LAYOUT = "encoder.down_blocks.0.res_blocks.0.conv1.conv.weight"


def family_of_vae(names: Collection[str]) -> str | None:
    """The family's name; None for a VAE that no model was published with, as the miniatures' is.

    Args:
        names: of its tensors, without prefix.
    """
    if _TIMESTEPS in names:
        return LTXV
    if DIFFUSION_DECODER in names or _RESIDUAL_DOWNSAMPLING in names:
        return LTX2
    return LTXV if _FIRST_LAYOUT in names else None
