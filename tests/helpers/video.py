"""LTX-Video's tokens and positions, as tests ask for them."""

from torch import Tensor

from ltxv_train_core.families.ltxv.video_stream import VideoStream
from ltxv_train_core.geometry import LatentSize

to_tokens = VideoStream(causal=True).to_tokens
to_latents = VideoStream(causal=True).to_latents


def positions(size: LatentSize, fps: Tensor, causal: bool) -> Tensor:
    return VideoStream(causal).positions(size, fps)


def latent_size(latents: Tensor) -> LatentSize:
    """The size of latents [B, C, f, h, w]."""
    return LatentSize(*latents.shape[2:])
