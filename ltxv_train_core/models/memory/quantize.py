"""Weights in few bits: of the frozen base while it is trained on, and of the text encoder."""

import importlib.util
import shutil
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from ..packages import why_not_usable
from ..transformer import Transformer
from .fp8 import Fp8Linear

QUANTO_TYPES = {
    "int8-quanto": "qint8",
    "int4-quanto": "qint4",
    "int2-quanto": "qint2",
    "fp8-quanto": "qfloat8_e4m3fn",
    "fp8uz-quanto": "qfloat8_e4m3fnuz",
}
QUANTO_BITS = {
    "int8-quanto": 8,
    "int4-quanto": 4,
    "int2-quanto": 2,
    "fp8-quanto": 8,
    "fp8uz-quanto": 8,
}
"""Of each weight; the scales come on top, one for each row."""
PACKED = ("int4-quanto", "int2-quanto")

OUTLIERS_FROM = 6.0  # activations that LLM.int8 multiplies in full precision


def quantize_base(transformer: Transformer, kind: str, device: torch.device) -> Transformer:
    """Quantizes and freezes the linear layers of the blocks; what stands before and after them is small
    and decides much, and norms stay as they are.

    Block by block on the device, where it is quick, and each goes back to where it was: the device
    never holds the whole model unquantized.

    Args:
        kind: a key of `QUANTO_TYPES`.
    """
    from optimum import quanto

    weights = getattr(quanto, QUANTO_TYPES[kind])
    home = transformer.device
    for block in transformer.transformer_blocks:
        block.to(device)
        quanto.quantize(block, weights=weights, exclude=["*norm*"])
        quanto.freeze(block)
        block.to(home)
    return transformer


def plain_tensors(tensor: Any) -> Iterator[Tensor]:
    """The tensors that hold a tensor's memory: a quantized one is made of several."""
    if type(tensor) in (Tensor, nn.Parameter):
        yield tensor
        return
    for name in tensor.__tensor_flatten__()[0]:
        yield from plain_tensors(getattr(tensor, name))


def frozen_bytes(module: nn.Module) -> int:
    """What a module's frozen weights take, in the bits that they are held in."""
    frozen = [parameter for parameter in module.parameters() if not parameter.requires_grad]
    return sum(plain.nbytes for parameter in frozen for plain in plain_tensors(parameter))


def quantization_problem(kind: str, device: torch.device) -> str | None:
    """Why base weights of this kind can't be used on a device, or None."""
    if kind in PACKED and device.type == "cpu" and not _can_build():
        return (
            f"acceleration.quantization: {kind} builds a C++ extension on a CPU, and there is no "
            "C++ compiler with ninja here; choose int8-quanto, or none"
        )
    try:
        from optimum import quanto

        probe = nn.Sequential(nn.Linear(128, 128, dtype=torch.bfloat16, device=device))
        quanto.quantize(probe, weights=getattr(quanto, QUANTO_TYPES[kind]))
        quanto.freeze(probe)
        probe(torch.ones(1, 128, dtype=torch.bfloat16, device=device, requires_grad=True))
    except Exception as error:
        instead = "none" if kind == "int8-quanto" else "int8-quanto, or none"
        return (
            f"acceleration.quantization: {kind} {why_not_usable(error, device.type)}; or choose "
            f"{instead}"
        )
    return None


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
        elif name != keep and not isinstance(child, Fp8Linear):
            layer = Linear8bitLt(
                child.in_features,
                child.out_features,
                bias=child.bias is not None,
                has_fp16_weights=False,
                threshold=OUTLIERS_FROM,
                device="meta",
            )
            layer.weight = Int8Params(child.weight.data, requires_grad=False)
            layer.bias = child.bias
            setattr(module, name, layer)
    return module


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


def _can_build() -> bool:
    compiler = any(shutil.which(name) for name in ("c++", "g++", "clang++", "cl"))
    return compiler and bool(shutil.which("ninja") or importlib.util.find_spec("ninja"))
