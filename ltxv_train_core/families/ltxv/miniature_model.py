"""The small model that comes with this package."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...storage.safetensors_header import read_header
from ..model import Model, ModelFacts, Part
from ..names import TEXT_ENCODER, VAE
from .checkpoint_export import TRANSFORMER_ARCHITECTURE
from .family import LTXV
from .miniature import shipped

if TYPE_CHECKING:
    import torch
    from diffusers import LTXVideoTransformer3DModel

    from .denoiser import LTXVideoDenoiser
    from .text_encoder import T5TextEncoder
    from .vae import LTXVideoVae


def miniature_model() -> Model:
    """The small model that comes with this package."""
    parts: dict[str, Part] = {VAE: MiniatureVae(), TEXT_ENCODER: MiniatureEncoder()}
    return Model(shipped.MINIATURE, LTXV, MiniatureTransformer(), parts)


class MiniatureTransformer:
    """The transformer of the small model."""

    causal_positions = shipped.CAUSAL
    facts = ModelFacts(
        is_fp8=False,
        text_width=shipped.CAPTION_CHANNELS,
        text_encoder="the miniature's own",
        architecture=TRANSFORMER_ARCHITECTURE,
        transformer_config=shipped.TRANSFORMER_CONFIG,
    )

    @property
    def identity(self) -> str:
        return shipped.identity()

    @property
    def content(self) -> str:
        return shipped.CONTENT["load_transformer"]

    def require(self) -> None:
        pass

    @property
    def module_names(self) -> tuple[list[str], list[str]]:
        header = read_header(shipped.FOLDER / shipped.TRANSFORMER_FILE)
        return LTXV.layers.modules_in(header.tensors)

    def load(self, dtype: torch.dtype) -> LTXVideoTransformer3DModel:
        from .miniature.weights import load_transformer

        return load_transformer(dtype)

    def denoiser(self, transformer: LTXVideoTransformer3DModel) -> LTXVideoDenoiser:
        from .denoiser import LTXVideoDenoiser

        return LTXVideoDenoiser(transformer, self.causal_positions)


class MiniatureVae:
    """The VAE of the small model."""

    @property
    def identity(self) -> str:
        return shipped.identity()

    @property
    def content(self) -> str:
        return shipped.CONTENT["load_vae"]

    def require(self) -> None:
        pass

    def load(self, dtype: torch.dtype) -> LTXVideoVae:
        from .miniature.weights import load_vae
        from .vae import LTXVideoVae

        return LTXVideoVae(load_vae(dtype))


class MiniatureEncoder:
    """The text encoder of the small model, for its checkpoint file."""

    width = shipped.CAPTION_CHANNELS

    @property
    def identity(self) -> str:
        return shipped.identity()

    @property
    def content(self) -> str:
        return shipped.CONTENT["load_text_encoder"]

    def require(self) -> None:
        pass

    def load(self, dtype: torch.dtype) -> T5TextEncoder:
        from .miniature.weights import load_text_encoder, load_tokenizer
        from .text_encoder import T5TextEncoder

        return T5TextEncoder(load_text_encoder(dtype), load_tokenizer())
