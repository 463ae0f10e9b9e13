"""Transformer blocks of LTX-Video 0.9.x that recompute cheap operations in backward.

Shapes: B batch, N tokens, T timesteps that differ (see `models/memory/recompute.py`), D width.
"""

# torch.autograd.Function has no types.
# mypy: allow-untyped-calls

from inspect import signature
from types import MethodType
from typing import TYPE_CHECKING, Any

import torch.nn.functional as F
from torch import Tensor

from ...models.linear import product, products
from ...models.memory.recompute import Gated, Modulated, RotaryNorm, note_invertible
from ..self_attention import is_left_out

if TYPE_CHECKING:
    from diffusers import LTXVideoTransformer3DModel

Rotation = tuple[Tensor, Tensor]


def use_recomputing_blocks(transformer: "LTXVideoTransformer3DModel") -> bool:
    """Replaces the forward of every block, in place; before anything else that wraps it.

    A block whose structure is not known here stays as it is.

    Returns:
        Whether all of them are known.
    """
    known = list(signature(_block).parameters)[1:6]
    all_known = True
    for block in transformer.transformer_blocks:
        if isinstance(block.forward, MethodType) and block.forward.__func__ is _block:
            continue
        if list(signature(block.forward).parameters) != known or block.norm1.weight is not None:
            all_known = False
            continue
        for attention in (block.attn1, block.attn2):
            note_invertible(attention)
        block.forward = MethodType(_block, block)
    return all_known


def _block(
    block: Any,
    hidden_states: Tensor,
    encoder_hidden_states: Tensor,
    temb: Tensor,
    image_rotary_emb: Rotation | None = None,
    encoder_attention_mask: Tensor | None = None,
    row_of: Tensor | None = None,
    wanted: int | None = None,
) -> Tensor:
    """The forward of a block: hidden states [B, N, D], temb [B, T, 6 * D].

    Args:
        wanted: how many tokens, the first ones, are needed of the output; None: all.
    """
    hidden, text = hidden_states, encoder_hidden_states
    table = block.scale_shift_table.unbind()
    timesteps = temb.unflatten(-1, (len(table), -1)).unbind(-2)
    # The order of the table: of the attention, then of the feed-forward.
    shift, scale, gate, ff_shift, ff_scale, ff_gate = zip(table, timesteps, strict=True)

    seen = Modulated.apply(hidden, *shift, *scale, row_of, block.norm1.eps)
    attended = _attend_within(block.attn1, seen, image_rotary_emb, wanted)
    if wanted is not None:
        hidden = hidden[:, :wanted]
        row_of = None if row_of is None else row_of[:, :wanted]
    hidden = Gated.apply(hidden, attended, *gate, row_of)
    hidden = hidden + _attend_to_text(block.attn2, hidden, text, encoder_attention_mask)
    seen = Modulated.apply(hidden, *ff_shift, *ff_scale, row_of, block.norm2.eps)
    gated: Tensor = Gated.apply(hidden, _feed_forward(block.ff, seen), *ff_gate, row_of)
    return gated


def _attend_within(
    attention: Any, seen: Tensor, rotation: Rotation | None, wanted: int | None
) -> Tensor:
    if is_left_out(attention):
        passed: Tensor = attention.processor(attention, seen[:, :wanted])
        return passed
    if wanted is None:
        query, key, value = products([attention.to_q, attention.to_k, attention.to_v], seen)
    else:
        query = product(attention.to_q, seen[:, :wanted])
        key, value = products([attention.to_k, attention.to_v], seen)
    key = _turned(attention.norm_k, key, rotation)
    if wanted is not None and rotation is not None:
        rotation = rotation[0][:, :wanted], rotation[1][:, :wanted]
    return _attend(attention, _turned(attention.norm_q, query, rotation), key, value, None)


def _attend_to_text(attention: Any, hidden: Tensor, text: Tensor, mask: Tensor | None) -> Tensor:
    key, value = products([attention.to_k, attention.to_v], text)
    query = _turned(attention.norm_q, product(attention.to_q, hidden), None)
    if mask is not None:
        mask = mask.unsqueeze(1)  # the same for every head
    return _attend(attention, query, _turned(attention.norm_k, key, None), value, mask)


def _turned(norm: Any, x: Tensor, rotation: Rotation | None) -> Tensor:
    cos, sin = rotation or (None, None)
    result: Tensor = RotaryNorm.apply(x, norm.weight, cos, sin, norm.eps, None, norm.is_invertible)
    return result


def _attend(
    attention: Any, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None
) -> Tensor:
    query, key, value = (
        tensor.unflatten(2, (attention.heads, -1)).transpose(1, 2) for tensor in (query, key, value)
    )
    found = F.scaled_dot_product_attention(query, key, value, attn_mask=mask)
    return product(attention.to_out[0], found.transpose(1, 2).flatten(2))


def _feed_forward(layers: Any, seen: Tensor) -> Tensor:
    activation, _, last = layers.net
    return product(last, activation.gelu(product(activation.proj, seen)))
