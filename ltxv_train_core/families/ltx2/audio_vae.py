"""Sound to LTX-2.x's audio latents and back.

Shapes: B batch, S samples, T latents (25 a second), C = 8 channels, F = 16 bins; 4T - 3 mel frames.
"""

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from .formats import AUDIO_BINS, AUDIO_CHANNELS, HOP_SAMPLES, MELS_PER_LATENT, latent_count
from .mel import log_mel

if TYPE_CHECKING:
    from diffusers import AutoencoderKLLTX2Audio

_SAMPLES_PER_LATENT = HOP_SAMPLES * MELS_PER_LATENT


def mel_count(latents: int) -> int:
    """How many mel frames so many latents stand for: the first latent has a single one."""
    return MELS_PER_LATENT * (latents - 1) + 1


def with_audio_statistics(vae: "AutoencoderKLLTX2Audio") -> "AutoencoderKLLTX2Audio":
    """Gives a new audio VAE statistics of the size that files have: one for each channel and bin.

    diffusers sizes them by `base_channels`, which is the same number by chance in published models.
    """
    size = (AUDIO_CHANNELS * AUDIO_BINS,)
    device = vae.latents_mean.device
    vae.register_buffer("latents_mean", torch.zeros(size, device=device))
    vae.register_buffer("latents_std", torch.ones(size, device=device))
    return vae


class LTX2AudioVae:
    """Stereo sound to normalised latents and back.

    Attributes:
        sample_rate: of what `decode` gives.
    """

    def __init__(self, vae: "AutoencoderKLLTX2Audio", vocoder: nn.Module, sample_rate: int):
        """
        Args:
            vocoder: log mel [B, 2, frames, bins] to sound [B, 2, samples] at `sample_rate`.
        """
        self.vae = vae.eval().requires_grad_(False)
        self.vocoder = vocoder.eval().requires_grad_(False)
        self.sample_rate = sample_rate

    @property
    def device(self) -> torch.device:
        device: torch.device = self.vae.device
        return device

    def to(self, device: torch.device) -> "LTX2AudioVae":
        self.vae.to(device)
        self.vocoder.to(device)
        return self

    @torch.no_grad()
    def encode(self, waveform: Tensor) -> Tensor:
        """Sound [B, 2, S] at 16 kHz to latents [B, 8, T, 16], float32 on the CPU.

        T is the nearest to the sound's length at 25 latents a second.
        """
        latents = latent_count(waveform.shape[-1])
        mel = log_mel(_long_enough(waveform).to(self.device))[:, :, : mel_count(latents)]
        moments = self.vae.encode(mel.to(self.vae.dtype)).latent_dist
        result: Tensor = ((moments.mode().float() - self._mean) / self._std).cpu()
        return result

    @torch.no_grad()
    def decode(self, latents: Tensor) -> Tensor:
        """Latents [B, 8, T, 16] to sound [B, 2, S] at `sample_rate`, float32 on the CPU."""
        weight = next(self.vocoder.parameters(), None)
        mel = self.decode_mel(latents)
        sound: Tensor = self.vocoder(mel if weight is None else mel.to(weight.dtype))
        return sound.float().clamp(-1, 1).cpu()

    @torch.no_grad()
    def decode_mel(self, latents: Tensor) -> Tensor:
        """Latents [B, 8, T, 16] to log mel [B, 2, 4T - 3, 64], float32."""
        scaled = latents.float().to(self.device) * self._std + self._mean
        mel: Tensor = self.vae.decode(scaled.to(self.vae.dtype)).sample
        return mel.float()

    @property
    def _mean(self) -> Tensor:
        return _of_each_bin(self.vae.latents_mean)

    @property
    def _std(self) -> Tensor:
        return _of_each_bin(self.vae.latents_std)


def _of_each_bin(statistics: Tensor) -> Tensor:
    """[128] to [8, 1, 16]."""
    return statistics.float().view(AUDIO_CHANNELS, 1, AUDIO_BINS)


def _long_enough(waveform: Tensor) -> Tensor:
    """With silence behind what is shorter than a latent, which the transform can't mirror."""
    missing = _SAMPLES_PER_LATENT - waveform.shape[-1]
    return nn.functional.pad(waveform, (0, missing)) if missing > 0 else waveform
