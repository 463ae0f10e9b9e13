"""Quantized model files that are not read, found from names, number formats and small descriptions."""

from collections.abc import Iterator
from typing import Any

from ..errors import cut
from ..storage.reading import open_regular, parse_json
from ..storage.safetensors_header import Header

READ_FORMATS = ("float8_e4m3fn", "float8_e5m2")
"""As ComfyUI calls those formats of a layer that are read."""

# The longest known one has some hundred bytes.
_LARGEST_DESCRIPTION = 4096
_BY_END = (
    (".weight_scale_2", "nvfp4"),
    (".qweight", "GPTQ, AWQ or SVDQuant (Nunchaku)"),
    (".wscales", "SVDQuant (Nunchaku)"),
    (".weight.absmax", "bitsandbytes"),
    (".quant_map", "bitsandbytes"),
    (".scb", "int8 of bitsandbytes"),
    (".weight._data", "quanto"),
    (".weight_quantized", "int8"),
)
_BY_WEIGHT = {"I8": "int8", "U8": "4 bit", "F4": "4 bit", "F6_E2M3": "mxfp6", "F6_E3M2": "mxfp6"}


def quantization(header: Header) -> str | None:
    """How a model is quantized, where that is a way that is not read; None for what is."""
    described = {name for name in _described(header) if name not in READ_FORMATS}
    if described:
        return cut(", ".join(sorted(described)))
    return next((found for name in header.tensors if (found := _by_name(header, name))), None)


def _by_name(header: Header, name: str) -> str | None:
    low, info = name.lower(), header.tensors[name]
    for end, found in _BY_END:
        if low.endswith(end):
            return found
    if low.endswith(".weight") and len(info.shape) == 2:
        return _BY_WEIGHT.get(info.dtype)
    is_of_blocks = low.endswith(".weight_scale") and info.elements > 1
    return "mxfp8" if is_of_blocks and info.dtype in ("U8", "F8_E8M0") else None


def _described(header: Header) -> Iterator[str]:
    """The formats of layers that a file itself names, as ComfyUI writes them."""
    layers = _parsed(header.metadata.get("_quantization_metadata", "")).get("layers")
    for layer in layers.values() if isinstance(layers, dict) else ():
        yield from _format(layer)
    names = [name for name in header.tensors if name.endswith(".comfy_quant")]
    if names:
        with open_regular(header.path) as file:
            for name in names:
                info = header.tensors[name]
                file.seek(info.start)
                content = file.read(min(info.end - info.start, _LARGEST_DESCRIPTION))
                yield from _format(_parsed(content.decode("utf-8", "replace")))


def _format(layer: Any) -> Iterator[str]:
    if isinstance(layer, dict) and isinstance(layer.get("format"), str):
        yield layer["format"]


def _parsed(text: str) -> dict[str, Any]:
    try:
        value = parse_json(text)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}
