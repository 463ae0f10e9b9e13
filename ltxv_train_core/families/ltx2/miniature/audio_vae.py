"""The second miniature's audio VAE: a PCA written into the encoder, and a decoder that was trained.

Two strided convolutions gather 4 mel frames x 4 bins x 2 sides = 32 numbers, of which 8 principal
components remain. Residual blocks are the identity. One last norm and SiLU can't be left out and
act almost linearly: one channel holds a constant that dwarfs the signal. The decoder can't be
written so: it doubles pixels and filters both halves alike.

Shapes: B batch, T latents (25 a second), 4T - 3 mel frames, M = 64 mel bins, F = 16 latent bins.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from diffusers import AutoencoderKLLTX2Audio
from torch import Tensor
from torch.nn.functional import pad

from ..audio_vae import with_audio_statistics
from ..formats import AUDIO_BINS, AUDIO_CHANNELS

CONFIG = {"base_channels": 16, "num_res_blocks": 1, "latent_channels": AUDIO_CHANNELS}
BLOCK = 2 * 4 * 4

# The constant is this times the square root of the width, see `..ltxv.miniature.vae`.
_NORM = 16.0
_SIGNAL = 0.005
_LOG_VARIANCE = -10.0


@dataclass(frozen=True)
class AudioFactors:
    """All that the encoder consists of.

    Attributes:
        basis: orthonormal columns [32, 8], rows ordered (side, frame, bin).
        level: the mean log mel, a number.
        latents_mean, latents_std: [128], ordered (channel, bin).
    """

    basis: Tensor
    level: Tensor
    latents_mean: Tensor
    latents_std: Tensor

    def tensors(self) -> dict[str, Tensor]:
        """As named tensors, for a file."""
        return dict(vars(self))

    @classmethod
    def from_tensors(cls, named: Mapping[str, Tensor]) -> "AudioFactors":
        return cls(**named)

    def encode(self, mel: Tensor) -> Tensor:
        """What the VAE computes, without its zeros: [B, 2, 4T - 3, M] -> normalised [B, 8, T, F]."""
        latents = (mel_blocks(mel - self.level) @ self.basis).permute(0, 3, 1, 2)
        result: Tensor = (latents - self._each(self.latents_mean)) / self._each(self.latents_std)
        return result

    def decode(self, latents: Tensor) -> Tensor:
        """The nearest log mel [B, 2, 4T - 3, M] of normalised latents [B, 8, T, F]."""
        latents = latents * self._each(self.latents_std) + self._each(self.latents_mean)
        blocks = (latents.permute(0, 2, 3, 1) @ self.basis.T).unflatten(3, (2, 4, 4))
        mel = blocks.permute(0, 3, 1, 4, 2, 5).flatten(4).flatten(2, 3)
        result: Tensor = mel[:, :, 3:] + self.level
        return result

    @staticmethod
    def _each(statistics: Tensor) -> Tensor:
        return statistics.view(AUDIO_CHANNELS, 1, AUDIO_BINS)


def mel_blocks(centred: Tensor) -> Tensor:
    """[B, 2, 4T - 3, M] -> [B, T, F, 32]; what lies before the beginning is zero."""
    blocks = pad(centred, (0, 0, 3, 0)).unflatten(3, (AUDIO_BINS, 4)).unflatten(2, (-1, 4))
    result: Tensor = blocks.permute(0, 2, 4, 1, 3, 5).flatten(3)
    return result


def new_audio_vae() -> AutoencoderKLLTX2Audio:
    """The architecture with random weights."""
    return with_audio_statistics(AutoencoderKLLTX2Audio(**CONFIG))


@torch.no_grad()
def build_audio_vae(factors: AudioFactors, decoder: Mapping[str, Tensor]) -> AutoencoderKLLTX2Audio:
    """The VAE in float32: factors written into its encoder, and the weights of its decoder."""
    with torch.device("meta"):
        vae = new_audio_vae()
    vae.to_empty(device="cpu")
    for parameter in vae.encoder.parameters():
        parameter.zero_()
    _write_encoder(vae, factors)
    vae.decoder.load_state_dict({name: tensor.float() for name, tensor in decoder.items()})
    vae.latents_mean.copy_(factors.latents_mean)
    vae.latents_std.copy_(factors.latents_std)
    return vae.eval()


def _write_encoder(vae: AutoencoderKLLTX2Audio, factors: AudioFactors) -> None:
    encoder = vae.encoder
    conv_in, conv_out = encoder.conv_in.conv, encoder.conv_out.conv
    # A causal convolution sees two frames back: its last tap in time is the present.
    sides = torch.arange(2)
    conv_in.weight[sides, sides, 2, 1] = 1
    conv_in.bias[:2] = -factors.level
    gather, project = (encoder.down[index].downsample.conv for index in range(2))
    for side in range(2):
        for frame in range(2):
            for bin_ in range(2):
                gather.weight[4 * side + 2 * frame + bin_, side, 1 + frame, bin_] = 1
    # (side, frame, bin), each of the last two as (second stage, first stage).
    basis = factors.basis.T.reshape(AUDIO_CHANNELS, 2, 2, 2, 2, 2)
    taps = basis.permute(0, 1, 3, 5, 2, 4).reshape(AUDIO_CHANNELS, 8, 2, 2)
    project.weight[:AUDIO_CHANNELS, :8, 1:, :2] = _SIGNAL * taps
    width = conv_out.weight.shape[1]
    project.bias[-1] = _NORM * math.sqrt(width)
    for level in (1, 2):
        shortcut = encoder.down[level].block[0].nin_shortcut.conv
        _copy_channels(shortcut.weight, shortcut.weight.shape[1], (0, 0), 1.0)
    _copy_channels(conv_out.weight, AUDIO_CHANNELS, (2, 1), 2 * _NORM / _SIGNAL)
    conv_out.bias[AUDIO_CHANNELS:] = _LOG_VARIANCE


def _copy_channels(weight: Tensor, channels: int, tap: tuple[int, int], gain: float) -> None:
    index = torch.arange(channels)
    weight[index, index, tap[0], tap[1]] = gain
