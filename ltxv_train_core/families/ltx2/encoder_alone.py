"""A VAE that encodes and can't decode: that of a file whose decoder isn't read."""

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ...errors import ModelError
from ..ltxv.vae import LTXVideoVae

if TYPE_CHECKING:
    from diffusers import AutoencoderKLLTX2Video


class EncoderAlone(LTXVideoVae):
    """Of a file whose decoder is LTX-2.5's diffusion decoder."""

    def __init__(self, vae: "AutoencoderKLLTX2Video", problem: str):
        super().__init__(vae)
        self._problem = problem

    def decode(self, latents: Tensor, generator: torch.Generator | None = None) -> Tensor:
        raise ModelError(self._problem)
