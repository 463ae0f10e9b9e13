"""Stand-in for the positions of LTX-Video's tokens (the layout of ComfyUI 0.3.64)."""

import torch


class SymmetricPatchifier:
    def __init__(self, patch_size: int):
        assert patch_size == 1

    def patchify(self, latents: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Tokens [B, N, C] of latents [B, C, f, h, w] and their frame, row, column [B, 3, N]."""
        axes = [torch.arange(size) for size in latents.shape[2:]]
        grid = torch.stack(torch.meshgrid(*axes, indexing="ij")).flatten(1)
        return latents.flatten(2).transpose(1, 2), grid.repeat(len(latents), 1, 1)


def latent_to_pixel_coords(
    latent_coords: torch.Tensor, scale_factors: tuple[int, int, int], causal_fix: bool = False
) -> torch.Tensor:
    coords = latent_coords * torch.tensor(scale_factors)[None, :, None]
    if causal_fix:
        coords[:, 0] = (coords[:, 0] + 1 - scale_factors[0]).clamp(min=0)
    return coords
