"""A VAE that encodes and can't decode: that of a file whose decoder isn't read."""

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ...errors import ModelError, shown
from ...storage.safetensors_header import Header
from ..ltxv.vae import LTXVideoVae

if TYPE_CHECKING:
    from diffusers import AutoencoderKLLTX2Video


class EncoderAlone(LTXVideoVae):
    """Of a file whose decoder is LTX-2.5's diffusion decoder."""

    def __init__(self, vae: "AutoencoderKLLTX2Video", header: Header):
        super().__init__(vae)
        self._file = header.path

    def decode(self, latents: Tensor, generator: torch.Generator | None = None) -> Tensor:
        raise ModelError(
            f"vae_source {shown(str(self._file))}: its decoder is LTX-2.5's diffusion decoder, which isn't read; "
            "to decode, choose the VAE file with the convolutional decoder, which has the same latents"
        )
