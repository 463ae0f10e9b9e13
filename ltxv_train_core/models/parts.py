"""What every source of a base model, or of one part of it, can do."""

from typing import TYPE_CHECKING, Protocol

import torch

from .text_encoder import TextEncoder
from .video_codec import VideoCodec

if TYPE_CHECKING:
    from diffusers import LTXVideoTransformer3DModel


class ModelSource(Protocol):
    """A base model whose parts are loaded one at a time.

    Each `require_*` raises `ModelError` when that part can't be loaded; no weights are read or
    downloaded to find out.

    Attributes:
        name: as the user gave it.
        identity: changes when the weights change; part of every fingerprint.
        causal_positions: whether its sampler shifts the frames after the first
            (`causal_temporal_positioning`).
        is_fp8: whether its transformer stays in 8 bit floating point when it is loaded.
        text_width: of the text embeddings that it reads; None where that isn't known yet.
        block_count: of its transformer; None where that isn't known yet.
    """

    @property
    def name(self) -> str: ...

    @property
    def identity(self) -> str: ...

    @property
    def causal_positions(self) -> bool: ...

    @property
    def is_fp8(self) -> bool: ...

    @property
    def text_width(self) -> int | None: ...

    @property
    def block_count(self) -> int | None: ...

    def require_transformer(self) -> None: ...

    def require_video_codec(self) -> None: ...

    def require_text_encoder(self) -> None: ...

    def load_transformer(self, dtype: torch.dtype) -> "LTXVideoTransformer3DModel": ...

    def load_video_codec(self, dtype: torch.dtype = torch.float32) -> VideoCodec: ...

    def load_text_encoder(self, dtype: torch.dtype = torch.float32) -> TextEncoder: ...


class TextEncoderPart(Protocol):
    """A text encoder that stands for the model's own."""

    @property
    def identity(self) -> str: ...

    @property
    def width(self) -> int | None: ...

    def require(self) -> None: ...

    def load(self, dtype: torch.dtype) -> TextEncoder: ...


class VaePart(Protocol):
    """A VAE that stands for the model's own."""

    @property
    def identity(self) -> str: ...

    def require(self) -> None: ...

    def load(self, dtype: torch.dtype) -> VideoCodec: ...
