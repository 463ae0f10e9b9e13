"""Products in 8 bits with weights that are in 8 bits (W8A8), for cards that multiply such numbers faster.

What comes in is rounded to 8 bits for the product, each token with a scale of its own, as LLM.int8
(arXiv 2208.07339) does it; in the backward pass the gradient is.
"""

# torch.autograd.Function has no types.
# mypy: allow-untyped-calls

from typing import Any

import torch
from torch import Tensor

LEAST_TOKENS = 17
"""cuBLAS multiplies no fewer rows of int8."""
_MULTIPLE = 16
"""Of which rows and columns have to be."""


def can_multiply(tokens: int, weight: Tensor) -> bool:
    """Whether sizes are such that libraries have a product in 8 bits for them; weight [out, in]."""
    return tokens >= LEAST_TOKENS and all(size % _MULTIPLE == 0 for size in weight.shape)


class EightBitProduct(torch.autograd.Function):
    """input @ (weight * scale).T + bias."""

    @staticmethod
    def forward(
        ctx: Any, input: Tensor, bias: Tensor | None, weight: Tensor, scale: Tensor | None
    ) -> Tensor:
        """
        Args:
            input: [..., in].
            weight: [out, in] in int8 or float8.
            scale: one number or [out, 1]; None for 1.
        """
        ctx.save_for_backward(weight, scale)
        output = _product(input, weight.T, scale)
        return output if bias is None else output + bias.to(output.dtype)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        (gradient,) = gradients
        weight, scale = ctx.saved_tensors
        if scale is not None:
            gradient = gradient * scale.to(gradient.dtype).flatten()
        return _product(gradient, weight, None), None, None, None


def _product(x: Tensor, weight: Tensor, scale: Tensor | None) -> Tensor:
    """x [..., K] times weight [K, N]; what comes out is multiplied with the scale of each column."""
    rows, dtype = x.flatten(0, -2), x.dtype
    kind = torch.float8_e4m3fn if weight.dtype == torch.float8_e5m2 else weight.dtype
    values, size = _rounded(rows, kind)
    ones = torch.ones(1, weight.shape[1], device=x.device)
    columns = ones if scale is None else ones * scale.float().flatten()
    if kind == torch.int8:
        output = torch._int_mm(values, weight).float() * size * columns
    else:
        # It takes the second matrix by columns only.
        by_columns = weight.T.contiguous().T
        output = torch._scaled_mm(values, by_columns, size, columns, out_dtype=torch.bfloat16)
    return output.to(dtype).view(*x.shape[:-1], -1)


def _rounded(rows: Tensor, kind: torch.dtype) -> tuple[Tensor, Tensor]:
    """Rows [M, K] in 8 bits, and what each is to be multiplied with: [M, 1] float32."""
    is_float = kind.is_floating_point
    largest = torch.finfo(kind).max if is_float else torch.iinfo(kind).max
    rows = rows.float()
    size = (rows.abs().amax(dim=1, keepdim=True) / largest).clamp_min(
        torch.finfo(torch.float32).tiny
    )
    values = (rows / size).clamp(-largest, largest)
    return (values if is_float else values.round()).to(kind), size
