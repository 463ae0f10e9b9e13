"""Weights in few bits: of the frozen base while it is trained on, and of the text encoder."""

from collections.abc import Collection, Iterable
from itertools import chain

import torch
from torch import Tensor, nn

from ..packages import why_not_usable
from ..transformer import Transformer
from .frozen_linear import EightBitLinear, FrozenLinear, NormalFloatLinear, PackedLinear
from .kinds import EIGHT_BIT_KINDS, FOUR_BITS, GROUP_COLUMNS, NORMAL_FLOAT, PACKED_BITS

_EIGHT_BIT_TYPES = dict(
    zip(EIGHT_BIT_KINDS, (torch.int8, torch.float8_e4m3fn, torch.float8_e4m3fnuz), strict=True)
)

OUTLIERS_FROM = 6.0  # activations that LLM.int8 multiplies in full precision


def quantize_base(
    transformer: Transformer, kind: str, device: torch.device, offloaded: Collection[int] = ()
) -> Transformer:
    """Quantizes the linear layers of the blocks; what stands before and after them is small and decides
    much, and norms stay as they are.

    Block by block on the device, where it is quick. Each stays there but the offloaded ones, which go back:
    the device never holds the whole model unquantized.

    Args:
        kind: a key of `kinds.BITS`.
    """
    home = transformer.device
    for number, block in enumerate(transformer.transformer_blocks):
        block.to(device)
        _quantize_layers(block, kind)
        if number in offloaded:
            block.to(home)
    return transformer


def quantized(layer: nn.Linear, kind: str) -> FrozenLinear:
    """A layer with the same weights in few bits. Takes the number of columns to be a multiple of 4."""
    weight = layer.weight.detach()
    bias = None if layer.bias is None else layer.bias.detach()
    if kind == NORMAL_FLOAT:
        return NormalFloatLinear(weight, bias)
    if kind in PACKED_BITS:
        bits = PACKED_BITS[kind]
        groups = weight.unflatten(1, (-1, _group_columns(layer.in_features)))
        low, high = groups.aminmax(dim=-1, keepdim=True)
        scale = _positive((high - low) / (2**bits - 1))
        values = ((groups - low) / scale).round().clamp(0, 2**bits - 1).to(torch.uint8)
        return PackedLinear(values, bits, scale, low, bias)
    wanted = _EIGHT_BIT_TYPES[kind]
    is_float = wanted.is_floating_point
    limits = torch.finfo(wanted) if is_float else torch.iinfo(wanted)
    scale = _positive(weight.abs().amax(dim=1, keepdim=True) / limits.max)
    values = weight / scale if is_float else (weight / scale).round()
    return EightBitLinear(values.clamp(limits.min, limits.max).to(wanted), scale, bias)


def multiply_in_eight_bits(blocks: nn.Module) -> None:
    """Lets layers whose weights are in 8 bits round what they are given to 8 bits as well (`EightBitProduct`)."""
    for layer in blocks.modules():
        if isinstance(layer, EightBitLinear):
            layer.multiplies_in_eight_bits = True


def frozen_bytes(module: nn.Module) -> int:
    """What a module's frozen weights take, in the bits that they are held in."""
    frozen = (parameter for parameter in module.parameters() if not parameter.requires_grad)
    return sum(tensor.nbytes for tensor in chain(frozen, module.buffers()))


def quantization_problem(kind: str, device: torch.device) -> str | None:
    """Why base weights of this kind can't be used on a device, or None.

    A small layer does all that those of a run do: it is quantized on the device, goes to the host and comes
    back, and is trained through.
    """
    try:
        layer = quantized(nn.Linear(128, 128, dtype=torch.bfloat16, device=device), kind)
        layer.to("cpu").to(device)
        seen = torch.ones(1, 128, dtype=torch.bfloat16, device=device, requires_grad=True)
        layer(seen).sum().backward()
    except Exception as error:
        instead = "none" if kind == "int8-quanto" else "int8-quanto, or none"
        return (
            f"acceleration.quantization: {kind} {why_not_usable(error, device.type)}; or choose "
            f"{instead}"
        )
    return None


def matmul_problem(kind: str, device: torch.device) -> str | None:
    """Why products in 8 bits can't be used on a device, or None.

    Args:
        kind: of the weights, one of `kinds.EIGHT_BIT_KINDS`.
    """
    try:
        layer = quantized(nn.Linear(128, 128, dtype=torch.bfloat16, device=device), kind)
        multiply_in_eight_bits(layer)
        seen = torch.ones(32, 128, dtype=torch.bfloat16, device=device, requires_grad=True)
        layer(seen).sum().backward()
    except Exception as error:
        return f"acceleration.quantized_matmul: {kind} {why_not_usable(error, device.type)}; or switch it off"
    return None


def _quantize_layers(block: nn.Module, kind: str, keep: str = "") -> None:
    for name, layer in list(block.named_modules()):
        if type(layer) is nn.Linear and "norm" not in name and layer.in_features % 4 == 0:
            owner, _, leaf = name.rpartition(".")
            if leaf == keep:
                continue
            setattr(block.get_submodule(owner), leaf, quantized(layer, kind))


def _group_columns(columns: int) -> int:
    """Columns of a group: 128, or less where that doesn't divide them, or all."""
    return next((size for size in range(GROUP_COLUMNS, 0, -32) if columns % size == 0), columns)


def _positive(scale: Tensor) -> Tensor:
    """Of weights that are all alike the scale is 0, by which none can be divided."""
    return scale.clamp_min(torch.finfo(scale.dtype).tiny)


def to_eight_bits(module: nn.Module, keep: str = "") -> nn.Module:
    """Makes linear layers 8 bit (LLM.int8 of bitsandbytes); the next `.to(device)` quantizes.

    Those that are stored in fp8 have 8 bits already.

    Args:
        keep: name of layers that stay as they are.
    """
    from bitsandbytes.nn import Int8Params, Linear8bitLt

    for name, child in module.named_children():
        if not isinstance(child, nn.Linear):
            to_eight_bits(child, keep)
        elif name != keep and not isinstance(child, EightBitLinear):
            layer = Linear8bitLt(
                child.in_features,
                child.out_features,
                bias=False,  # it is the layer's own, below
                has_fp16_weights=False,
                threshold=OUTLIERS_FROM,
                device="meta",
            )
            layer.weight = Int8Params(child.weight.data, requires_grad=False)
            layer.bias = child.bias
            setattr(module, name, layer)
    return module


def to_four_bits(blocks: Iterable[nn.Module], device: torch.device, keep: str = "") -> None:
    """Makes the linear layers of blocks 4 bit on a device, block by block: it never holds all of them
    unquantized. Those that are stored in fp8 stay so.

    Args:
        keep: name of layers that stay as they are.
    """
    for block in blocks:
        block.to(device)
        _quantize_layers(block, FOUR_BITS, keep)


def eight_bit_problem(device: torch.device) -> str | None:
    """Why an 8-bit text encoder can't run on a device, or None."""
    try:
        probe = to_eight_bits(nn.Sequential(nn.Linear(64, 64))).to(device)
        probe(torch.ones(1, 64, device=device))
    except Exception as error:
        return (
            "acceleration.load_text_encoder_in_8bit: "
            f"{why_not_usable(error, device.type)}; or switch it off"
        )
    return None
