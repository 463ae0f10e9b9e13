"""Cheap operations of transformer blocks that are recomputed in backward. They save half the activation
bytes; results are equal.

Autograd saves what each small operation of a block made: normalised, scaled, shifted, rotated, much of it in
float32. Here each of these operations is one function that saves its input, or the output that the next one
saves anyway, and recomputes the rest. Products with weights and attention stay as they are.

Shapes: B batch, N tokens, T timesteps that differ (1 for all tokens, or N, or few of which `row_of` [B, N] says
which one each token has), D width.
"""

# torch.autograd.Function has no types.
# mypy: allow-untyped-calls

from collections.abc import Callable
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
        row_of: Tensor | None,
        eps: float,
    ) -> Tensor:
        """x [B, N, D]; shift and scale are the block's own [D] plus the timesteps' [B, T, D]."""
        rate = _rate(x, eps)
        ctx.save_for_backward(x, rate, shift, token_shift, scale, token_scale, row_of)
        shifts, factors = shift + token_shift, 1 + (scale + token_scale)

        def make(part: slice) -> Tensor:
            normed = (x[:, part] * rate[:, part]).to(x.dtype)
            y = per_token(shifts, row_of, part) + normed * per_token(factors, row_of, part)
            if torch.is_autocast_enabled(x.device.type):
                # Each of the layers that read it would else do this, and keep its own.
                y = y.to(torch.get_autocast_dtype(x.device.type))
            return y

        return _in_parts(make, x)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, rate, shift, token_shift, scale, token_scale, row_of = ctx.saved_tensors
        needed = ctx.needs_input_grad
        factors = 1 + (scale + token_scale)

        def make(part: slice) -> Tensor:
            behind = grad[:, part].float() * per_token(factors, row_of, part)
            normed = x[:, part] * rate[:, part]
            return _through_norm(behind, normed, rate[:, part]).to(x.dtype)

        to_scale = grad.float() * (x * rate) if needed[3] or needed[4] else grad
        return (
            _in_parts(make, x) if needed[0] else None,
            _summed(grad, shift) if needed[1] else None,
            _of_rows(grad, token_shift, row_of) if needed[2] else None,
            _summed(to_scale, scale) if needed[3] else None,
            _of_rows(to_scale, token_scale, row_of) if needed[4] else None,
            None,
            None,
        )


class Gated(Function):
    """A residual with what is added to it, as much as the timesteps say."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        added: Tensor,
        gate: Tensor,
        token_gate: Tensor,
        row_of: Tensor | None,
    ) -> Tensor:
        """x and added [B, N, D]; the gate is the block's own [D] plus the timesteps' [B, T, D]."""
        is_learned = any(ctx.needs_input_grad[2:])
        ctx.save_for_backward(gate, token_gate, row_of, added if is_learned else None)
        ctx.dtypes = x.dtype, added.dtype
        gates = gate + token_gate

        def make(part: slice) -> Tensor:
            return x[:, part] + added[:, part] * per_token(gates, row_of, part)

        return _in_parts(make, x)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        gate, token_gate, row_of, added = ctx.saved_tensors
        needed, (x_dtype, added_dtype) = ctx.needs_input_grad, ctx.dtypes
        to_gate = grad if added is None else grad.float() * added
        gates = gate + token_gate

        def make(part: slice) -> Tensor:
            return (grad[:, part] * per_token(gates, row_of, part)).to(added_dtype)

        return (
            grad.to(x_dtype),
            _in_parts(make, grad),
            _summed(to_gate, gate) if needed[2] else None,
            _of_rows(to_gate, token_gate, row_of) if needed[3] else None,
            None,
        )


class RotaryNorm(Function):
    """RMS norm, then turned by the tokens' positions where there is a rotation.

    Attention saves what comes out of it. Where that tells what went in, nothing else is saved.
    """

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor | None,
        cos: Tensor | None,
        sin: Tensor | None,
        eps: float,
        halves: int | None = None,
        is_invertible: bool = False,
    ) -> Tensor:
        """
        Args:
            x: [B, N, D].
            weight: [D], where the norm has one.
            cos, sin: [B, N, D].
            halves: of how many heads the first half is turned with the second; None: neighbours are.
            is_invertible: see `note_invertible`.
        """
        rate = _rate(x, eps)

        def make(part: slice) -> Tensor:
            y = x[:, part] * rate[:, part]
            if weight is not None:
                y = y * weight
            if cos is not None and sin is not None:
                y = y * cos[:, part] + _quarter_turn(y, halves) * sin[:, part]
            return y.to(x.dtype)

        y = _in_parts(make, x)
        ctx.halves, ctx.has_output = halves, is_invertible and not ctx.needs_input_grad[1]
        ctx.save_for_backward(y if ctx.has_output else x, rate, weight, cos, sin)
        return y

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        kept, rate, weight, cos, sin = ctx.saved_tensors
        halves, has_output = ctx.halves, ctx.has_output

        def back(turned: Tensor, part: slice) -> Tensor:
            """What was turned, as it was before."""
            if cos is None or sin is None:
                return turned
            result: Tensor = turned * cos[:, part] - _quarter_turn(turned * sin[:, part], halves)
            return result

        def normed_of(part: slice) -> Any:
            if not has_output:
                return kept[:, part] * rate[:, part]
            normed = back(kept[:, part].float(), part)
            return normed if weight is None else normed / weight

        def make(part: slice) -> Tensor:
            behind = back(grad[:, part].float(), part)
            behind = behind if weight is None else behind * weight
            return _through_norm(behind, normed_of(part), rate[:, part]).to(kept.dtype)

        whole = slice(None)
        learned = back(grad.float(), whole) * normed_of(whole) if ctx.needs_input_grad[1] else None
        return (
            _in_parts(make, kept),
            None if learned is None else _summed(learned, weight),
            *(None,) * 5,
        )


NUMBERS_AT_ONCE = 2**16
"""That are computed at once on a CPU: what is made of them in between fits into its cache."""


def _in_parts(make: Callable[[slice], Tensor], like: Tensor) -> Tensor:
    """What `make` makes of tokens [B, N, D], of which it is told which: on a CPU of some at a time."""
    samples, tokens, width = like.shape
    count = max(1, NUMBERS_AT_ONCE // (samples * width))
    if like.device.type != "cpu" or torch.compiler.is_compiling() or tokens <= count:
        return make(slice(None))
    parts = [make(slice(first, first + count)) for first in range(0, tokens, count)]
    return torch.cat(parts, dim=1)


LEAST_SHARE = 1 / 32
"""Of the weight of an RMS norm, in that of the channel that it is turned with."""


def note_invertible(attention: Any, halves: int | None = None) -> None:
    """Notes at the norms of an attention whether `RotaryNorm` can tell their input by their output.

    A channel's own rounding doesn't matter, that of the channel that it is turned with does: where a channel
    weighs much less than that one, its input would be rounded coarsely.

    Args:
        halves: as for `RotaryNorm`.
    """
    for norm in (attention.norm_q, attention.norm_k):
        weight: Tensor | None = norm.weight
        norm.is_invertible = weight is None or _is_invertible(weight.detach().float().abs(), halves)


def _is_invertible(sizes: Tensor, halves: int | None) -> bool:
    other = _quarter_turn(sizes[None, None], halves)[0, 0].abs()
    return bool((sizes > 0).all() and (sizes >= LEAST_SHARE * other).all())


def per_token(rows: Tensor, row_of: Tensor | None, part: slice = slice(None)) -> Tensor:
    """Rows [B, T, D] for the tokens [B, N, D] that have them, or for a part of these; one row for all stays one."""
    if row_of is None:
        return rows if rows.shape[1] == 1 else rows[:, part]
    wanted = row_of[:, part]
    return rows.flatten(0, 1).index_select(0, _flat(wanted, rows)).view(*wanted.shape, -1)


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


def _of_rows(grad: Tensor, rows: Tensor, row_of: Tensor | None) -> Tensor:
    """The gradient of rows [B, T, D], of that of the tokens [B, N, D] that had them."""
    if row_of is None:
        return _summed(grad, rows)
    found = torch.zeros_like(rows, dtype=grad.dtype).flatten(0, 1)
    found = found.index_add(0, _flat(row_of, rows), grad.flatten(0, 1))
    return found.view(rows.shape).to(rows.dtype)


def _flat(row_of: Tensor, rows: Tensor) -> Tensor:
    """Numbers of rows counted through all samples."""
    first = torch.arange(len(rows), device=row_of.device)[:, None] * rows.shape[1]
    return (row_of + first).flatten()


def _summed(grad: Tensor, to: Tensor) -> Tensor:
    """The gradient of what was spread over more places."""
    return grad.sum_to_size(to.shape).to(to.dtype)
