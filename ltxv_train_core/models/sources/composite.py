"""A model whose parts come from several places."""

from typing import TYPE_CHECKING, Any

import torch

from ...errors import ModelError
from ...storage.atomic import sha256_json
from .protocols import ModelSource, TextEncoder, TextEncoderPart, Vae, VaePart

if TYPE_CHECKING:
    from diffusers import LTXVideoTransformer3DModel


class AssembledModel:
    """A model with another text encoder or VAE than its own.

    Attributes:
        identity: the model's, with those of the parts that the user chose.
    """

    def __init__(
        self,
        model: ModelSource,
        text_encoder: TextEncoderPart | None,
        vae: VaePart | None,
        chosen: list[str],
    ):
        self.model = model
        self._vae, self._text_encoder = vae, text_encoder
        self.name = model.name
        own = model.identity
        self.identity = sha256_json([own, *chosen])[:32] if chosen else own

    @property
    def vae(self) -> VaePart | None:
        return self._vae or self.model.vae

    @property
    def text_encoder(self) -> TextEncoderPart | None:
        return self._text_encoder or self.model.text_encoder

    @property
    def causal_positions(self) -> bool:
        return self.model.causal_positions

    @property
    def is_fp8(self) -> bool:
        return self.model.is_fp8

    @property
    def text_width(self) -> int | None:
        return self.model.text_width

    @property
    def transformer_config(self) -> dict[str, Any] | None:
        return self.model.transformer_config

    def require_transformer(self) -> None:
        self.model.require_transformer()

    def require_vae(self) -> None:
        if self._vae is None:
            self.model.require_vae()
        else:
            self._vae.require()

    def require_text_encoder(self) -> None:
        if self._text_encoder is None:
            self.model.require_text_encoder()
            return
        wanted, width = self.text_width, self._text_encoder.width
        if None not in (wanted, width) and wanted != width:
            raise ModelError(
                f"text_encoder_source: gives embeddings of {width} numbers, and {self.name} reads "
                f"{wanted}; LTX-Video needs T5-XXL (4096)"
            )
        self._text_encoder.require()

    def load_transformer(self, dtype: torch.dtype) -> "LTXVideoTransformer3DModel":
        return self.model.load_transformer(dtype)

    def load_vae(self, dtype: torch.dtype = torch.float32) -> Vae:
        return self.model.load_vae(dtype) if self._vae is None else self._vae.load(dtype)

    def load_text_encoder(self, dtype: torch.dtype = torch.float32) -> TextEncoder:
        if self._text_encoder is None:
            return self.model.load_text_encoder(dtype)
        return self._text_encoder.load(dtype)
