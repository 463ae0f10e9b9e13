"""Cheap operations of transformer blocks that are recomputed in backward. They save half the activation
bytes; results are equal.

Autograd saves what each small operation of a block made: normalised, scaled, shifted, rotated, much of it in
float32. Here each of these operations is one function that saves its input and recomputes the rest. Products
with weights and attention stay as they are.

Shapes: B batch, N tokens, T of them with timesteps of their own (N, or 1 for all), D width.
"""

# torch.autograd.Function has no types.
# mypy: allow-untyped-calls

from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function


class Modulated(Function):
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


class Gated(Function):
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


class RotaryNorm(Function):
    """RMS norm, then turned by the tokens' positions where there is a rotation."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor | None,
        cos: Tensor | None,
        sin: Tensor | None,
        eps: float,
        halves: int | None = None,
    ) -> Tensor:
        """
        Args:
            x: [B, N, D].
            weight: [D], where the norm has one.
            cos, sin: [B, N, D].
            halves: of how many heads the first half is turned with the second; None: neighbours are.
        """
        rate = _rate(x, eps)
        ctx.save_for_backward(x, rate, weight, cos, sin)
        ctx.halves = halves
        y = x * rate if weight is None else x * rate * weight
        if cos is not None and sin is not None:
            y = y * cos + _quarter_turn(y, halves) * sin
        return y.to(x.dtype)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, rate, weight, cos, sin = ctx.saved_tensors
        grad, normed = grad.float(), x * rate
        if cos is not None and sin is not None:
            grad = grad * cos - _quarter_turn(grad * sin, ctx.halves)
        return (
            _through_norm(grad if weight is None else grad * weight, normed, rate).to(x.dtype),
            _summed(grad * normed, weight) if ctx.needs_input_grad[1] else None,
            *(None,) * 4,
        )


def _rate(x: Tensor, eps: float) -> Tensor:
    """What RMS norm multiplies each token with: [B, N, 1] float32."""
    norm = torch.linalg.vector_norm(x, dim=-1, keepdim=True, dtype=torch.float32)
    return torch.rsqrt(norm.square() / x.shape[-1] + eps)


def _through_norm(grad: Tensor, normed: Tensor, rate: Tensor) -> Tensor:
    """The gradient before an RMS norm, of that behind it."""
    return rate * (grad - normed * (grad * normed).mean(-1, keepdim=True))


def _quarter_turn(x: Tensor, halves: int | None) -> Tensor:
    """Pairs (a, b) to (-b, a): of neighbours, or of the halves of each head."""
    if halves is None:
        a, b = x.unflatten(-1, (-1, 2)).unbind(-1)
        return torch.stack([-b, a], dim=-1).flatten(-2)
    a, b = x.unflatten(-1, (halves, 2, -1)).unbind(-2)
    return torch.stack([-b, a], dim=-2).flatten(-3)


def _summed(grad: Tensor, to: Tensor) -> Tensor:
    """The gradient of what was spread over more places."""
    return grad.sum_to_size(to.shape).to(to.dtype)
