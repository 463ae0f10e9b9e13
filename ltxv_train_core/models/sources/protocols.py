"""What every source of a base model, or of one part of it, can do."""

from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import Tensor

if TYPE_CHECKING:
    from diffusers import LTXVideoTransformer3DModel


class Vae(Protocol):
    """Pixels to normalised latents and back.

    Shapes: B batch, C channels, F frames, H W pixels, f h w latent frames, rows, columns.
    """

    def to(self, device: torch.device) -> "Vae": ...

    def in_tiles(self, tile_px: int) -> "Vae": ...

    def encode(self, frames: Tensor) -> Tensor:
        """Frames [B, 3, F, H, W] in [-1, 1] to the mean latents [B, C, f, h, w], float32 on the CPU."""
        ...

    def decode(self, latents: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Latents [B, C, f, h, w] to frames [B, 3, F, H, W] in [-1, 1], float32 on the CPU."""
        ...


class TextEncoder(Protocol):
    """Texts to embeddings."""

    def to(self, device: torch.device) -> "TextEncoder": ...

    def in_eight_bits(self) -> "TextEncoder": ...

    def encode(self, prompts: list[str]) -> list[Tensor]:
        """One embedding [L, D] per prompt on the CPU, padding cut off."""
        ...


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
        vae, text_encoder: what the model takes for them; None where it has none.
        transformer_config: diffusers' configuration of its transformer; None where that isn't known
            yet.
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
    def transformer_config(self) -> "dict[str, Any] | None": ...

    @property
    def vae(self) -> "VaePart | None": ...

    @property
    def text_encoder(self) -> "TextEncoderPart | None": ...

    def require_transformer(self) -> None: ...

    def require_vae(self) -> None: ...

    def require_text_encoder(self) -> None: ...

    def load_transformer(self, dtype: torch.dtype) -> "LTXVideoTransformer3DModel": ...

    def load_vae(self, dtype: torch.dtype = torch.float32) -> Vae: ...

    def load_text_encoder(self, dtype: torch.dtype = torch.float32) -> TextEncoder: ...


class Part(Protocol):
    """A part of a model, of one kind.

    Attributes:
        identity: changes when its weights change; where they are part of a file with more in it, when
            any of that changes.
        content: names its weights alone, the same in every layout; None where that isn't known before
            a download, or can't be read.
    """

    @property
    def identity(self) -> str: ...

    @property
    def content(self) -> str | None: ...


class TextEncoderPart(Part, Protocol):
    """A text encoder, a model's own or one that stands for it."""

    @property
    def width(self) -> int | None: ...

    def require(self) -> None: ...

    def load(self, dtype: torch.dtype) -> TextEncoder: ...


class VaePart(Part, Protocol):
    """A VAE, a model's own or one that stands for it."""

    def require(self) -> None: ...

    def load(self, dtype: torch.dtype) -> Vae: ...
