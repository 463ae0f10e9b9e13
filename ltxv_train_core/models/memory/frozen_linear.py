"""Linear layers whose frozen weights are stored in few bits.

The weights take the input's number format for the moment of the product, forward and backward: nothing but
the small copy is kept. What is stored is plain tensors, which move between devices as they are.
"""

# torch.autograd.Function has no types.
# mypy: allow-untyped-calls

from abc import ABC, abstractmethod
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .eight_bit_product import EightBitProduct, can_multiply

FLOAT8 = (torch.float8_e4m3fn, torch.float8_e5m2)
_NF4 = "nf4"


class FrozenLinear(nn.Linear, ABC):
    """A linear layer with weights that are calculated from what is stored. Gradients flow to the input alone."""

    def __init__(self, rows: int, columns: int, stored: Tensor, bias: Tensor | None):
        super().__init__(columns, rows, bias=bias is not None, device="meta")
        self.weight = nn.Parameter(stored, requires_grad=False)
        if bias is not None:
            self.bias = nn.Parameter(bias, requires_grad=False)

    def forward(self, input: Tensor) -> Tensor:
        kind = input.device.type
        if torch.is_autocast_enabled(kind):
            input = input.to(torch.get_autocast_dtype(kind))
        return self._product(input)

    def _product(self, input: Tensor) -> Tensor:
        # Not of the layer: an offloaded block's tensors are others when the gradient is calculated.
        output: Tensor = _Product.apply(input, self.bias, *self._weights())
        return output

    @torch.no_grad()
    def dequantized(self) -> Tensor:
        """The weights as they are used, float32 [out, in]."""
        make, *stored = self._weights()
        weights: Tensor = make(*stored, torch.float32)
        return weights

    @abstractmethod
    def _weights(self) -> tuple[Any, ...]:
        """What makes the weights of a number format, and the tensors that it takes."""


class EightBitLinear(FrozenLinear):
    """Weights in 8 bits, integers or floats, times a scale.

    Attributes:
        multiplies_in_eight_bits: whether inputs and gradients are rounded to 8 bits for the product.
    """

    multiplies_in_eight_bits = False

    def __init__(self, weight: Tensor, scale: Tensor | None, bias: Tensor | None):
        """
        Args:
            weight: [out, in] in int8 or float8.
            scale: what the weights are multiplied with, one number or [out, 1]; None for 1.
            bias: [out], in any format.
        """
        rows, columns = weight.shape
        super().__init__(rows, columns, weight, bias)
        self.register_buffer("weight_scale", scale, persistent=scale is not None)

    def _product(self, input: Tensor) -> Tensor:
        tokens = input.numel() // input.shape[-1]
        if not (self.multiplies_in_eight_bits and can_multiply(tokens, self.weight)):
            return super()._product(input)
        output: Tensor = EightBitProduct.apply(input, self.bias, self.weight, self.weight_scale)
        return output

    def _weights(self) -> tuple[Any, ...]:
        return dequantized, self.weight, self.weight_scale


class PackedLinear(FrozenLinear):
    """Weights in 4 or 2 bits, several in a byte, with a scale and a lowest number for each group of columns."""

    def __init__(self, values: Tensor, bits: int, scale: Tensor, low: Tensor, bias: Tensor | None):
        """
        Args:
            values: [out, groups, columns of a group] uint8, below 2 ** bits.
            scale, low: [out, groups, 1]; a weight is value * scale + low.
        """
        rows, groups, columns = values.shape
        super().__init__(rows, groups * columns, packed(values, bits), bias)
        self.bits = bits
        self.register_buffer("weight_scale", scale)
        self.register_buffer("weight_low", low)

    def _weights(self) -> tuple[Any, ...]:
        make = partial(_of_groups, bits=self.bits)
        return make, self.weight, self.weight_scale, self.weight_low


class NormalFloatLinear(FrozenLinear):
    """Weights in NF4 (QLoRA, arXiv 2305.14314), whose 16 numbers are equally likely among normally distributed
    ones: two in a byte, with a scale for each 64, which are in 8 bits themselves.

    bitsandbytes makes the numbers and reads them. What it needs for that is buffers here, not its own kind of
    parameter: they move, wait in host memory and are copied as other weights.
    """

    def __init__(self, weight: Tensor, bias: Tensor | None):
        """
        Args:
            weight: [out, in] floats, on the device that quantizes them.
        """
        from bitsandbytes.functional import quantize_4bit

        rows, columns = weight.shape
        stored, state = quantize_4bit(weight, quant_type=_NF4, compress_statistics=True)
        super().__init__(rows, columns, stored, bias)
        self.register_buffer("weight_scale", state.absmax)
        self.register_buffer("weight_code", state.code)
        self.register_buffer("scale_scale", state.state2.absmax)
        self.register_buffer("scale_code", state.state2.code)
        self.register_buffer("scale_mean", state.offset)
        sizes = state.blocksize, state.state2.blocksize
        self._make = partial(_of_normal_floats, shape=(rows, columns), block_sizes=sizes)

    def _weights(self) -> tuple[Any, ...]:
        tensors = self.weight, self.weight_scale, self.weight_code
        return self._make, *tensors, self.scale_scale, self.scale_code, self.scale_mean


class _Product(torch.autograd.Function):
    """input @ weights.T + bias, which saves the weights as they are stored."""

    @staticmethod
    def forward(
        ctx: Any,
        input: Tensor,
        bias: Tensor | None,
        make: Callable[..., Tensor],
        *stored: Tensor | None,
    ) -> Tensor:
        ctx.save_for_backward(*stored)
        ctx.make = make
        bias = None if bias is None else bias.to(input.dtype)
        return F.linear(input, make(*stored, input.dtype), bias)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        (gradient,) = gradients
        stored = ctx.saved_tensors  # to be asked for once, under a checkpoint
        weights = ctx.make(*stored, gradient.dtype)
        return gradient @ weights, None, None, *(None for _ in stored)


def dequantized(weight: Tensor, scale: Tensor | None, dtype: torch.dtype) -> Tensor:
    """Weights in a number format that can be calculated with."""
    weight = weight.to(dtype)
    return weight if scale is None else weight * scale.to(weight)


def packed(values: Tensor, bits: int) -> Tensor:
    """Values [..., N] below 2 ** bits, several in a byte: [..., N * bits / 8]. N is a multiple of 8 / bits."""
    parts = values.chunk(8 // bits, dim=-1)
    result = parts[0].clone()
    for number, part in enumerate(parts[1:], start=1):
        result |= part << (bits * number)
    return result


def unpacked(stored: Tensor, bits: int) -> Tensor:
    """The values that `packed` was given."""
    parts = [(stored >> shift) & (2**bits - 1) for shift in range(0, 8, bits)]
    return torch.cat(parts, dim=-1)


def is_in_eight_bits(module: nn.Module) -> bool:
    """Whether some of a module's weights are stored in 8 bits."""
    return any(isinstance(child, EightBitLinear) for child in module.modules())


def _of_groups(stored: Tensor, scale: Tensor, low: Tensor, dtype: torch.dtype, bits: int) -> Tensor:
    values = unpacked(stored, bits).to(dtype)
    return (values * scale.to(dtype) + low.to(dtype)).flatten(1)


def _of_normal_floats(
    stored: Tensor,
    scale: Tensor,
    code: Tensor,
    scale_scale: Tensor,
    scale_code: Tensor,
    scale_mean: Tensor,
    dtype: torch.dtype,
    shape: tuple[int, int],
    block_sizes: tuple[int, int],
) -> Tensor:
    from bitsandbytes.functional import QuantState, dequantize_4bit

    of_weights, of_scales = block_sizes
    # As one row: on a CPU, bitsandbytes 0.50 begins a new scale with each row.
    flat = torch.Size([shape[0] * shape[1]])
    scales = QuantState(scale_scale, code=scale_code, blocksize=of_scales, dtype=torch.float32)
    state = QuantState(scale, flat, code, of_weights, _NF4, dtype, scale_mean, state2=scales)
    weights: Tensor = dequantize_4bit(stored, state).view(shape)
    return weights
