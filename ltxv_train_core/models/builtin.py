"""The small model that comes with this package."""

import torch
from diffusers import LTXVideoTransformer3DModel

from ..miniature import weights as miniature
from .text_encoder import TextEncoder
from .video_codec import VideoCodec

MINIATURE = "LTXV_MINIATURE"


class MiniatureModel:
    """The small model that comes with this package."""

    name = MINIATURE
    causal_positions = miniature.CAUSAL
    is_fp8 = False
    text_width = miniature.CAPTION_CHANNELS

    @property
    def identity(self) -> str:
        return miniature.identity()

    def require_transformer(self) -> None:
        pass

    def require_video_codec(self) -> None:
        pass

    def require_text_encoder(self) -> None:
        pass

    def load_transformer(self, dtype: torch.dtype) -> LTXVideoTransformer3DModel:
        return miniature.load_transformer(dtype)

    def load_video_codec(self, dtype: torch.dtype = torch.float32) -> VideoCodec:
        return VideoCodec(miniature.load_vae(dtype))

    def load_text_encoder(self, dtype: torch.dtype = torch.float32) -> TextEncoder:
        return MiniatureEncoder().load(dtype)


class MiniatureEncoder:
    """The text encoder of the small model, for its checkpoint file."""

    width = miniature.CAPTION_CHANNELS

    @property
    def identity(self) -> str:
        return miniature.identity()

    def require(self) -> None:
        pass

    def load(self, dtype: torch.dtype = torch.float32) -> TextEncoder:
        return TextEncoder(miniature.load_text_encoder(dtype), miniature.load_tokenizer())
