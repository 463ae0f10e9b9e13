"""The VAE as the sampler uses it: mean latents, normalised per channel.

Shapes: B batch, F frames, H W pixels, f h w latent frames, rows, columns.
"""

from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from diffusers import AutoencoderKLLTXVideo

# Both as ComfyUI's VAE and diffusers' pipeline decode 0.9.1 and later.
DECODE_TIMESTEP = 0.05
DECODE_NOISE_SCALE = 0.025


class LTXVideoVae:
    """Pixels to normalised latents and back."""

    def __init__(self, vae: "AutoencoderKLLTXVideo"):
        self.vae = vae.eval().requires_grad_(False)
        self._tile_frames: int | None = None

    @property
    def device(self) -> torch.device:
        device: torch.device = self.vae.device
        return device

    def to(self, device: torch.device) -> "LTXVideoVae":
        self.vae.to(device)
        return self

    def in_tiles(self, tile_px: int, tile_frames: int | None = None) -> "LTXVideoVae":
        """Pictures wider or higher than a tile are encoded and decoded in tiles, to save memory.

        Tiles overlap by a quarter and are blended there. How near the result is to that of the
        whole picture depends on how far the VAE looks.

        Args:
            tile_px: width and height of a tile, a multiple of 128.
            tile_frames: of how many frames at a time it decodes, a multiple of 32; None: of all.
        """
        self._tile_frames = tile_frames
        stride_px = tile_px * 3 // 4
        self.vae.enable_tiling(
            tile_sample_min_height=tile_px,
            tile_sample_min_width=tile_px,
            tile_sample_stride_height=stride_px,
            tile_sample_stride_width=stride_px,
            tile_sample_min_num_frames=tile_frames,
            tile_sample_stride_num_frames=tile_frames and tile_frames * 3 // 4,
        )
        return self

    @torch.no_grad()
    def encode(self, frames: Tensor) -> Tensor:
        """Frames [B, 3, F, H, W] in [-1, 1] to latents [B, 128, f, h, w], float32 on the CPU."""
        vae = self.vae
        moments = vae.encode(frames.to(vae.device, vae.dtype)).latent_dist
        result: Tensor = ((moments.mode().float() - self._mean) / self._std).cpu()
        return result

    @torch.no_grad()
    def decode(self, latents: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Latents [B, 128, f, h, w] to frames [B, 3, F, H, W] in [-1, 1], float32 on the CPU.

        A VAE that is conditioned on a timestep decodes at 0.05 with a little noise, drawn from
        `generator`, as the usual samplers do.
        """
        vae = self.vae
        latents = latents.float().to(vae.device) * self._std + self._mean
        timestep = None
        if vae.config.timestep_conditioning:
            noise = torch.randn(latents.shape, generator=generator).to(latents.device)
            latents = (1 - DECODE_NOISE_SCALE) * latents + DECODE_NOISE_SCALE * noise
            timestep = torch.full((len(latents),), DECODE_TIMESTEP, device=vae.device).to(vae.dtype)
        vae.use_framewise_decoding = self._tile_frames is not None
        frames = vae.decode(latents.to(vae.dtype), timestep).sample
        vae.use_framewise_decoding = False  # diffusers (0.42) looks at it when it encodes as well
        result: Tensor = frames.float().clamp(-1, 1).cpu()
        return result

    @property
    def _mean(self) -> Tensor:
        result: Tensor = self.vae.latents_mean.float().view(1, -1, 1, 1, 1).to(self.vae.device)
        return result

    @property
    def _std(self) -> Tensor:
        result: Tensor = self.vae.latents_std.float().view(1, -1, 1, 1, 1).to(self.vae.device)
        return result
