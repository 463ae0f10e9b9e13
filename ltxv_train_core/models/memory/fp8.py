"""Linear layers whose frozen weights stay in 8 bit floating point."""

# torch.autograd.Function has no types.
# mypy: allow-untyped-calls

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

FLOAT8 = (torch.float8_e4m3fn, torch.float8_e5m2)


class Fp8Linear(nn.Linear):
    """A frozen linear layer with weights in float8, and one scale where the file has one.

    The weights take the input's number format for the moment of the product, forward and backward:
    nothing but the 8 bit copy is kept. Gradients flow to the input alone.
    """

    def __init__(self, weight: Tensor, scale: Tensor | None, bias: Tensor | None):
        """
        Args:
            weight: [out, in] in float8.
            scale: one number that the weights are multiplied with; None for 1.
            bias: [out], in any format.
        """
        rows, columns = weight.shape
        super().__init__(columns, rows, bias=bias is not None, device="meta")
        self.weight = nn.Parameter(weight, requires_grad=False)
        if bias is not None:
            self.bias = nn.Parameter(bias, requires_grad=False)
        self.register_buffer("weight_scale", scale, persistent=scale is not None)

    def forward(self, input: Tensor) -> Tensor:
        kind = input.device.type
        if torch.is_autocast_enabled(kind):
            input = input.to(torch.get_autocast_dtype(kind))
        output: Tensor = _Product.apply(input, self.weight, self.weight_scale, self.bias)
        return output


class _Product(torch.autograd.Function):
    """input @ weight.T + bias, which saves the weights as they are stored."""

    @staticmethod
    def forward(
        ctx: Any, input: Tensor, weight: Tensor, scale: Tensor | None, bias: Tensor | None
    ) -> Tensor:
        ctx.save_for_backward(weight, scale)
        bias = None if bias is None else bias.to(input.dtype)
        return F.linear(input, dequantized(weight, scale, input.dtype), bias)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        (gradient,) = gradients
        weight, scale = ctx.saved_tensors
        return gradient @ dequantized(weight, scale, gradient.dtype), None, None, None


def dequantized(weight: Tensor, scale: Tensor | None, dtype: torch.dtype) -> Tensor:
    """Weights in a number format that can be calculated with."""
    weight = weight.to(dtype)
    return weight if scale is None else weight * scale.to(weight)


def has_float8(module: nn.Module) -> bool:
    """Whether some of a module's weights are kept in 8 bit floating point."""
    return any(isinstance(child, Fp8Linear) for child in module.modules())
