"""Tensors of a safetensors file straight into a module that was built without memory."""

from collections.abc import Callable, Iterable, Mapping
from typing import TypeVar

import torch
from safetensors import safe_open
from torch import Tensor, nn

from ...errors import ModelError, cut
from ...formats.tensors import FP8, SCALES
from ...storage.safetensors_header import Header
from ..device import holds_float8
from ..memory.frozen_linear import EightBitLinear, dequantized

ModuleT = TypeVar("ModuleT", bound=nn.Module)

_DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "F8_E4M3": torch.float8_e4m3fn,
    "F8_E5M2": torch.float8_e5m2,
    "I64": torch.int64,
    "I32": torch.int32,
    "I8": torch.int8,
    "U8": torch.uint8,
}


def on_meta(build: Callable[[], ModuleT]) -> ModuleT:
    """A module without memory for its weights.

    Raises:
        ModelError: the library knows none of these sizes.
    """
    try:
        with torch.device("meta"):
            return build()
    except (ArithmeticError, AssertionError, LookupError, RuntimeError, TypeError, ValueError) as e:
        raise ModelError(f"no model of the file's sizes can be built ({cut(str(e))})") from e


def fill(
    module: ModuleT,
    header: Header,
    names: Mapping[str, str],
    dtype: torch.dtype,
    keep: Callable[[str], bool] = lambda name: False,
    fp8: Callable[[str], bool] = lambda name: True,
) -> ModuleT:
    """Gives a module on the meta device the tensors of a file.

    What already has the wanted number format stays mapped to the file; the rest is converted
    tensor by tensor, so that the host never holds more than the result and one tensor.

    Args:
        names: the file's names of the module's tensors, by the module's own. Of a part in several files, those
            of this one.
        dtype: of all but the kept ones.
        keep: names of tensors that become float32.
        fp8: names of linear layers' weights that stay in float8 when they are stored so
            (`EightBitLinear`, with its scale) and the device knows it.
    """
    may_stay = holds_float8()
    with safe_open(header.path, framework="pt") as file, header.path.open("rb") as raw:

        def read(key: str, wanted: torch.dtype) -> Tensor:
            info = header.tensors[key]
            if _DTYPES.get(info.dtype) == wanted:
                tensor: Tensor = file.get_tensor(key)
                return tensor
            raw.seek(info.start)
            buffer = bytearray(raw.read(info.end - info.start))
            return torch.frombuffer(buffer, dtype=_DTYPES[info.dtype]).view(info.shape).to(wanted)

        for name, parameter in list(module.state_dict(keep_vars=True).items()):
            if not parameter.is_meta or name not in names:
                continue
            key, wanted = names[name], torch.float32 if keep(name) else dtype
            info = header.tensors[key]
            owner, _, leaf = name.rpartition(".")
            layer = module.get_submodule(owner)
            scale = _scale(header, key)
            stays = may_stay and info.dtype in FP8 and leaf == "weight" and fp8(name)
            if stays and type(layer) is nn.Linear:
                number = None if scale is None else read(scale, torch.float32).reshape(())
                weight = read(key, _DTYPES[info.dtype])
                _replace(module, owner, EightBitLinear(weight, number, layer.bias))
                continue
            tensor = read(key, wanted)
            if scale is not None:
                tensor = dequantized(tensor, read(scale, torch.float32), wanted)
            _put(layer, leaf, tensor.view(parameter.shape), parameter)
    return module


def fill_from(
    module: ModuleT,
    headers: Iterable[Header],
    names: Mapping[str, str],
    dtype: torch.dtype,
    keep: Callable[[str], bool] = lambda name: False,
) -> ModuleT:
    """As `fill`, of a part whose tensors lie in one file or several."""
    for header in headers:
        here = {own: theirs for own, theirs in names.items() if theirs in header.tensors}
        fill(module, header, here, dtype, keep)
    return module


def _scale(header: Header, key: str) -> str | None:
    """The name of the number that a weight is multiplied with."""
    if not key.endswith(".weight"):
        return None
    stem = key.removesuffix(".weight")
    return next((stem + end for end in SCALES if stem + end in header.tensors), None)


def _replace(module: nn.Module, name: str, child: nn.Module) -> None:
    owner, _, leaf = name.rpartition(".")
    setattr(module.get_submodule(owner), leaf, child)


def _put(layer: nn.Module, leaf: str, tensor: Tensor, old: Tensor) -> None:
    if isinstance(old, nn.Parameter):
        layer.register_parameter(leaf, nn.Parameter(tensor, requires_grad=old.requires_grad))
    else:
        layer.register_buffer(leaf, tensor)
