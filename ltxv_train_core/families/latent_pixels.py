"""What the video streams of all families have in common."""

from collections.abc import Sequence

from torch import Tensor

from .noise import linear_shift


class LatentPixels:
    """One token for each latent pixel, in the order frame, row, column."""

    def to_tokens(self, latents: Tensor) -> Tensor:
        """[B, C, f, h, w] -> [B, N, C]."""
        return latents.flatten(2).transpose(1, 2)

    def to_latents(self, tokens: Tensor, shape: Sequence[int]) -> Tensor:
        """[B, N, C] -> [B, C, f, h, w]."""
        result: Tensor = tokens.transpose(1, 2).unflatten(2, tuple(shape))
        return result

    def shift(self, tokens: int) -> float:
        """See `noise.linear_shift`."""
        return linear_shift(tokens)
