"""The small model that comes with this package."""

from typing import TYPE_CHECKING

import torch

from ..miniature import shipped
from .text_encoder import TextEncoder
from .video_codec import VideoCodec

if TYPE_CHECKING:
    from diffusers import LTXVideoTransformer3DModel

MINIATURE = "LTXV_MINIATURE"


class MiniatureModel:
    """The small model that comes with this package."""

    name = MINIATURE
    causal_positions = shipped.CAUSAL
    is_fp8 = False
    text_width = shipped.CAPTION_CHANNELS
    block_count = shipped.BLOCKS

    @property
    def identity(self) -> str:
        return shipped.identity()

    def require_transformer(self) -> None:
        pass

    def require_video_codec(self) -> None:
        pass

    def require_text_encoder(self) -> None:
        pass

    def load_transformer(self, dtype: torch.dtype) -> "LTXVideoTransformer3DModel":
        from ..miniature.weights import load_transformer

        return load_transformer(dtype)

    def load_video_codec(self, dtype: torch.dtype = torch.float32) -> VideoCodec:
        from ..miniature.weights import load_vae

        return VideoCodec(load_vae(dtype))

    def load_text_encoder(self, dtype: torch.dtype = torch.float32) -> TextEncoder:
        return MiniatureEncoder().load(dtype)


class MiniatureEncoder:
    """The text encoder of the small model, for its checkpoint file."""

    width = shipped.CAPTION_CHANNELS

    @property
    def identity(self) -> str:
        return shipped.identity()

    def require(self) -> None:
        pass

    def load(self, dtype: torch.dtype = torch.float32) -> TextEncoder:
        from ..miniature.weights import load_text_encoder, load_tokenizer

        return TextEncoder(load_text_encoder(dtype), load_tokenizer())
