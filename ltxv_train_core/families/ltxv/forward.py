"""The forward pass of LTX-Video 0.9.x on the layers of diffusers, without what a step doesn't need.

What depends on the noise level alone is computed for the levels that differ, not for every token; attention to a
text without padding has no mask; and the last block makes no output for tokens of a reference, which nobody
reads.

Shapes: B batch, N tokens of the video, M of them with those of a reference, T levels that differ, C channels,
D width.
"""

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ...models.memory.recompute import per_token
from ..base import StreamInput, Text
from ..names import PROMPT

if TYPE_CHECKING:
    from diffusers import LTXVideoTransformer3DModel

# The transformer was trained with timesteps of 0 to 1000.
TIMESTEPS_PER_LEVEL = 1000
MASKED = -10000.0
"""Added to the scores of text tokens that are padding."""


def velocity(
    transformer: "LTXVideoTransformer3DModel", video: StreamInput, text: Text, dtype: torch.dtype
) -> Tensor:
    """Predicted velocity [B, N, C], with the blocks of `recompute.py`.

    Args:
        dtype: of the transformer's weights.
    """
    hidden: Tensor = transformer.proj_in(video.tokens.to(dtype))
    # Rotations, and captions behind their projection, are computed at each step and not kept: of a step of the 2B model
    # with 1,792 tokens the projection of 256 words is 0.05 % of the operations, the rotations' sines and cosines less.
    # To keep them would take 29 MB for each shape of clip and 1 MB for each caption.
    rotation = transformer.rope(hidden, video_coords=video.positions)
    rows = video.level_rows
    timesteps, embedded = transformer.time_embed(
        (rows.levels * TIMESTEPS_PER_LEVEL).flatten(), hidden_dtype=hidden.dtype
    )
    timesteps, embedded = (part.unflatten(0, rows.levels.shape) for part in (timesteps, embedded))
    words = transformer.caption_projection(text.tensors[PROMPT])
    mask = (~text.mask[:, None]).to(hidden.dtype) * MASKED if text.is_padded else None
    recomputes = transformer.gradient_checkpointing and torch.is_grad_enabled()
    wanted = video.tokens.shape[1] - video.reference_tokens
    last = transformer.transformer_blocks[-1]
    for block in transformer.transformer_blocks:
        given: list[Any] = [hidden, words, timesteps, rotation, mask, rows.row_of]
        if block is last and video.reference_tokens:
            given.append(wanted)
        hidden = (
            transformer._gradient_checkpointing_func(block, *given) if recomputes else block(*given)
        )
    shift, scale = (row + embedded for row in transformer.scale_shift_table.unbind())
    of_wanted = None if rows.row_of is None else rows.row_of[:, :wanted]
    shift, scale = per_token(shift, of_wanted), per_token(scale, of_wanted)
    found: Tensor = transformer.proj_out(transformer.norm_out(hidden) * (1 + scale) + shift)
    return found
