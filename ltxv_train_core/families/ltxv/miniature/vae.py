"""The miniature's video autoencoder: a hierarchical PCA written into the layers of LTX-Video's.

Three times, blocks of 2x2x2 neighbours are projected onto their first 63 principal components by
a convolution of stride 2; the decoder's up-samplers are the transposed projections. The first of
them also looks at a latent's neighbours, which softens the seams between blocks. Residual blocks
are the identity. RMSNorm and SiLU, which can't be left out, act almost linearly: one
channel holds a constant that dwarfs the signal, so the norm divides by a constant, and SiLU(x) is
x / 2 for the small values that remain.

Shapes: B batch, C channels, F frames, H rows, W columns; 4x4 patches of RGB are 48 channels.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from diffusers import AutoencoderKLLTXVideo
from torch import Tensor, nn

from ..video_format import LATENT_CHANNELS

COMPONENTS = 63
PATCH_PX = 4
PATCH_CHANNELS = 3 * PATCH_PX**2
LEVELS = 3

# The constant is this times the square root of the width: the norm divides by it at every width.
_NORM = 16.0
# So small beside the constant that the norm is linear in it.
_SIGNAL = 0.02
_UNDO_NORM = 2 * _NORM / _SIGNAL
_LOG_VARIANCE = -4.0


@dataclass(frozen=True)
class Level:
    """One projection of 2x2x2 blocks: components = (block - mean) @ basis / scale.

    Attributes:
        basis: orthonormal columns, [8 C, 63], rows ordered (channel, frame, row, column).
        scale: [63].
        mean: [8 C].
    """

    basis: Tensor
    scale: Tensor
    mean: Tensor

    @property
    def analysis(self) -> Tensor:
        """[63, 8 C]: blocks without their mean to components."""
        return (self.basis / self.scale).T

    @property
    def synthesis(self) -> Tensor:
        """[8 C, 63]: components to blocks without their mean."""
        return self.basis * self.scale


@dataclass(frozen=True)
class VaeFactors:
    """All that the autoencoder consists of.

    Attributes:
        context: what a latent and its neighbours add to the block that the latent stands for,
            [8 * 63, 63, 3, 3, 3] (output; channel, frame, row, column of the neighbour).
        latents_mean, latents_std: [128].
    """

    levels: tuple[Level, ...]
    context: Tensor
    latents_mean: Tensor
    latents_std: Tensor

    def tensors(self) -> dict[str, Tensor]:
        """As named tensors, for a file."""
        named = {
            "context": self.context,
            "latents_mean": self.latents_mean,
            "latents_std": self.latents_std,
        }
        for index, level in enumerate(self.levels):
            named |= {
                f"levels.{index}.basis": level.basis,
                f"levels.{index}.scale": level.scale,
                f"levels.{index}.mean": level.mean,
            }
        return named

    @classmethod
    def from_tensors(cls, named: Mapping[str, Tensor]) -> "VaeFactors":
        levels = tuple(
            Level(*(named[f"levels.{index}.{part}"] for part in ("basis", "scale", "mean")))
            for index in range(LEVELS)
        )
        return cls(levels, named["context"], named["latents_mean"], named["latents_std"])


@torch.no_grad()
def build_vae(factors: VaeFactors, width: int = 64) -> AutoencoderKLLTXVideo:
    """Writes the factors into an autoencoder in float32.

    Args:
        width: channels of every layer, at least 64. The function computed is the same for every
            width: further channels stay zero.
    """
    with torch.device("meta"):
        vae = AutoencoderKLLTXVideo(
            latent_channels=LATENT_CHANNELS,
            block_out_channels=(width,) * 4,
            decoder_block_out_channels=(width,) * 4,
            layers_per_block=(0, 0, 0, 0, 1),
            decoder_layers_per_block=(0, 0, 0, 0, 1),
            patch_size=PATCH_PX,
        )
    vae.to_empty(device="cpu")
    for parameter in vae.parameters():
        parameter.zero_()
    _write_encoder(vae.encoder, factors, width)
    _write_decoder(vae.decoder, factors, width)
    vae.latents_mean.copy_(factors.latents_mean)
    vae.latents_std.copy_(factors.latents_std)
    return vae.eval()


def _write_encoder(encoder: Any, factors: VaeFactors, width: int) -> None:
    # A causal convolution sees two frames back: its last tap in time is the present.
    _copy_channels(encoder.conv_in.conv, PATCH_CHANNELS, frame_tap=2)
    for level, block in zip(factors.levels, encoder.down_blocks, strict=False):
        conv = block.downsamplers[0].conv
        channels = level.basis.shape[0] // 8
        gain = _SIGNAL if level is factors.levels[-1] else 1.0
        weight = gain * level.analysis
        conv.weight[:COMPONENTS, :channels, 1:, 1:, 1:] = weight.unflatten(1, (channels, 2, 2, 2))
        conv.bias[:COMPONENTS] = -(weight @ level.mean)
    conv.bias[COMPONENTS] = _NORM * math.sqrt(width)
    _copy_channels(encoder.conv_out.conv, COMPONENTS, frame_tap=2, gain=_UNDO_NORM)
    encoder.conv_out.conv.bias[LATENT_CHANNELS] = _LOG_VARIANCE


def _write_decoder(decoder: Any, factors: VaeFactors, width: int) -> None:
    _copy_channels(decoder.conv_in.conv, COMPONENTS, frame_tap=1)
    upsamplers = [block.upsamplers[0] for block in decoder.up_blocks if block.upsamplers]
    rows = len(factors.context)
    upsamplers[0].conv.conv.weight[:rows, :COMPONENTS] = factors.context
    for level, upsampler in zip(reversed(factors.levels), upsamplers, strict=True):
        conv = upsampler.conv.conv
        rows = level.basis.shape[0]
        gain = _SIGNAL if level is factors.levels[0] else 1.0
        conv.weight[:rows, :COMPONENTS, 1, 1, 1] += gain * level.synthesis
        conv.bias[:rows] = gain * level.mean
    conv.bias[8 * COMPONENTS : 8 * COMPONENTS + 8] = _NORM * math.sqrt(width)
    _copy_channels(decoder.conv_out.conv, PATCH_CHANNELS, frame_tap=1, gain=_UNDO_NORM)


def _copy_channels(conv: nn.Conv3d, channels: int, frame_tap: int, gain: float = 1.0) -> None:
    index = torch.arange(channels)
    conv.weight[index, index, frame_tap, 1, 1] = gain
