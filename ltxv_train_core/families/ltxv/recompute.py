"""Transformer blocks of LTX-Video 0.9.x that recompute cheap operations in backward.

Shapes: B batch, N tokens, T of them with timesteps of their own (N, or 1 for all), D width.
"""

# torch.autograd.Function has no types.
# mypy: allow-untyped-calls

from inspect import signature
from types import MethodType
from typing import TYPE_CHECKING, Any

import torch.nn.functional as F
from torch import Tensor

from ...models.memory.recompute import Gated, Modulated, RotaryNorm
from ..self_attention import is_left_out

if TYPE_CHECKING:
    from diffusers import LTXVideoTransformer3DModel

Rotation = tuple[Tensor, Tensor]


def use_recomputing_blocks(transformer: "LTXVideoTransformer3DModel") -> None:
    """Replaces the forward of every block, in place; before anything else that wraps it.

    A block whose structure is not known here stays as it is.
    """
    known = list(signature(_block).parameters)[1:]
    for block in transformer.transformer_blocks:
        if list(signature(block.forward).parameters) == known and block.norm1.weight is None:
            block.forward = MethodType(_block, block)


def _block(
    block: Any,
    hidden_states: Tensor,
    encoder_hidden_states: Tensor,
    temb: Tensor,
    image_rotary_emb: Rotation | None = None,
    encoder_attention_mask: Tensor | None = None,
) -> Tensor:
    """The forward of a block: hidden states [B, N, D], temb [B, T, 6 * D]."""
    hidden, text = hidden_states, encoder_hidden_states
    table = block.scale_shift_table.unbind()
    timesteps = temb.unflatten(-1, (len(table), -1)).unbind(-2)
    # The order of the table: of the attention, then of the feed-forward.
    shift, scale, gate, ff_shift, ff_scale, ff_gate = zip(table, timesteps, strict=True)

    seen = Modulated.apply(hidden, *shift, *scale, block.norm1.eps)
    attended = _attend(block.attn1, seen, seen, image_rotary_emb, None)
    hidden = Gated.apply(hidden, attended, *gate)
    hidden = hidden + _attend(block.attn2, hidden, text, None, encoder_attention_mask)
    seen = Modulated.apply(hidden, *ff_shift, *ff_scale, block.norm2.eps)
    gated: Tensor = Gated.apply(hidden, block.ff(seen), *ff_gate)
    return gated


def _attend(
    attention: Any, hidden: Tensor, seen: Tensor, rotation: Rotation | None, mask: Tensor | None
) -> Tensor:
    if is_left_out(attention):
        passed: Tensor = attention.processor(attention, seen)
        return passed
    query, key = attention.to_q(hidden), attention.to_k(seen)
    cos, sin = rotation or (None, None)
    query = RotaryNorm.apply(query, attention.norm_q.weight, cos, sin, attention.norm_q.eps)
    key = RotaryNorm.apply(key, attention.norm_k.weight, cos, sin, attention.norm_k.eps)
    query, key, value = (
        tensor.unflatten(2, (attention.heads, -1)).transpose(1, 2)
        for tensor in (query, key, attention.to_v(seen))
    )
    if mask is not None:
        mask = mask.unsqueeze(1)  # the same for every head
    found = F.scaled_dot_product_attention(query, key, value, attn_mask=mask)
    out: Tensor = attention.to_out[1](attention.to_out[0](found.transpose(1, 2).flatten(2)))
    return out
