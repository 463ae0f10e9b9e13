"""Transformer blocks that recompute cheap operations in backward. They save half the activation bytes;
results are equal.

Autograd saves what each small operation of a block made: normalised, scaled, shifted, rotated, much of it in
float32. Here each of these operations is one function that saves its input and recomputes the rest. Products
with weights and attention are as they were.

Shapes: B batch, N tokens, T of them with timesteps of their own (N, or 1 for all), D width.
"""

# torch.autograd.Function has no types.
# mypy: allow-untyped-calls

from inspect import signature
from types import MethodType
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd import Function

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

    seen = _Modulated.apply(hidden, *shift, *scale, block.norm1.eps)
    attended = _attend(block.attn1, seen, seen, image_rotary_emb, None)
    hidden = _Gated.apply(hidden, attended, *gate)
    hidden = hidden + _attend(block.attn2, hidden, text, None, encoder_attention_mask)
    seen = _Modulated.apply(hidden, *ff_shift, *ff_scale, block.norm2.eps)
    gated: Tensor = _Gated.apply(hidden, block.ff(seen), *ff_gate)
    return gated


def _attend(
    attention: Any, hidden: Tensor, seen: Tensor, rotation: Rotation | None, mask: Tensor | None
) -> Tensor:
    query, key = attention.to_q(hidden), attention.to_k(seen)
    cos, sin = rotation or (None, None)
    query = _RotaryNorm.apply(query, attention.norm_q.weight, cos, sin, attention.norm_q.eps)
    key = _RotaryNorm.apply(key, attention.norm_k.weight, cos, sin, attention.norm_k.eps)
    query, key, value = (
        tensor.unflatten(2, (attention.heads, -1)).transpose(1, 2)
        for tensor in (query, key, attention.to_v(seen))
    )
    if mask is not None:
        mask = mask.unsqueeze(1)  # the same for every head
    found = F.scaled_dot_product_attention(query, key, value, attn_mask=mask)
    out: Tensor = attention.to_out[1](attention.to_out[0](found.transpose(1, 2).flatten(2)))
    return out


class _Modulated(Function):
    """RMS norm, then scaled and shifted as the timesteps say."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        shift: Tensor,
        token_shift: Tensor,
        scale: Tensor,
        token_scale: Tensor,
        eps: float,
    ) -> Tensor:
        """x [B, N, D]; shift and scale are the block's own [D] plus the tokens' [B, T, D]."""
        rate = _rate(x, eps)
        ctx.save_for_backward(x, rate, shift, token_shift, scale, token_scale)
        normed = (x * rate).to(x.dtype)
        y = (shift + token_shift) + normed * (1 + (scale + token_scale))
        if torch.is_autocast_enabled(x.device.type):
            # Each of the layers that read it would else do this, and keep its own.
            y = y.to(torch.get_autocast_dtype(x.device.type))
        return y

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, rate, shift, token_shift, scale, token_scale = ctx.saved_tensors
        needed = ctx.needs_input_grad
        grad, normed = grad.float(), x * rate
        return (
            _through_norm(grad * (1 + (scale + token_scale)), normed, rate).to(x.dtype),
            _summed(grad, shift) if needed[1] else None,
            _summed(grad, token_shift) if needed[2] else None,
            _summed(grad * normed, scale) if needed[3] else None,
            _summed(grad * normed, token_scale) if needed[4] else None,
            None,
        )


class _Gated(Function):
    """A residual with what is added to it, as much as the timesteps say."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, added: Tensor, gate: Tensor, token_gate: Tensor) -> Tensor:
        """x and added [B, N, D]; the gate is the block's own [D] plus the tokens' [B, T, D]."""
        is_learned = any(ctx.needs_input_grad[2:])
        ctx.save_for_backward(gate, token_gate, added if is_learned else None)
        ctx.dtypes = x.dtype, added.dtype
        return x + added * (gate + token_gate)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        gate, token_gate, added = ctx.saved_tensors
        needed, (x_dtype, added_dtype) = ctx.needs_input_grad, ctx.dtypes
        to_gate = grad if added is None else grad.float() * added
        return (
            grad.to(x_dtype),
            (grad * (gate + token_gate)).to(added_dtype),
            _summed(to_gate, gate) if needed[2] else None,
            _summed(to_gate, token_gate) if needed[3] else None,
        )


class _RotaryNorm(Function):
    """RMS norm with a weight, then turned by the tokens' positions where there is a rotation."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, cos: Tensor | None, sin: Tensor | None, eps: float
    ) -> Tensor:
        """x [B, N, D], weight [D], cos and sin [B, N, D]."""
        rate = _rate(x, eps)
        ctx.save_for_backward(x, rate, weight, cos, sin)
        y = x * rate * weight
        if cos is not None and sin is not None:
            y = y * cos + _quarter_turn(y) * sin
        return y.to(x.dtype)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, rate, weight, cos, sin = ctx.saved_tensors
        grad, normed = grad.float(), x * rate
        if cos is not None and sin is not None:
            grad = grad * cos - _quarter_turn(grad * sin)
        return (
            _through_norm(grad * weight, normed, rate).to(x.dtype),
            _summed(grad * normed, weight) if ctx.needs_input_grad[1] else None,
            None,
            None,
            None,
        )


def _rate(x: Tensor, eps: float) -> Tensor:
    """What RMS norm multiplies each token with: [B, N, 1] float32."""
    norm = torch.linalg.vector_norm(x, dim=-1, keepdim=True, dtype=torch.float32)
    return torch.rsqrt(norm.square() / x.shape[-1] + eps)


def _through_norm(grad: Tensor, normed: Tensor, rate: Tensor) -> Tensor:
    """The gradient before an RMS norm, of that behind it."""
    return rate * (grad - normed * (grad * normed).mean(-1, keepdim=True))


def _quarter_turn(x: Tensor) -> Tensor:
    """Pairs of neighbours (a, b) to (-b, a)."""
    a, b = x.unflatten(-1, (-1, 2)).unbind(-1)
    return torch.stack([-b, a], dim=-1).flatten(-2)


def _summed(grad: Tensor, to: Tensor) -> Tensor:
    """The gradient of what was spread over more places."""
    return grad.sum_to_size(to.shape).to(to.dtype)
