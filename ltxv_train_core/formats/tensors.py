"""What every model file's tensors can be: number formats that are read, sizes that a model has."""

from collections.abc import Collection, Mapping

from ..errors import ModelError, cut, shown
from ..storage.safetensors_header import TensorInfo

LARGEST_SIZE, MOST_LAYERS = 1_000_000, 200
"""Of a layer, and of a model: far beyond those that there are."""

FP8 = {"F8_E4M3", "F8_E5M2"}
READABLE = {"F64", "F32", "F16", "BF16", *FP8}
SCALES = (".scale_weight", ".weight_scale")
_BESIDES = (*SCALES, ".scale_input", ".input_scale", ".comfy_quant")
_MARK = "scaled_fp8"


def require_sizes(*sizes: object, largest: int = LARGEST_SIZE) -> None:
    """Raises `ModelError` for sizes that no model has, before modules are made of them."""
    wrong = [size for size in sizes if type(size) is not int or not 1 <= size <= largest]
    if wrong:
        raise ModelError(f"the size {shown(wrong[0])} is none from 1 to {largest:,}")


def tensor_differences(
    part: Mapping[str, TensorInfo],
    expected: Mapping[str, tuple[int, ...]],
    besides: Collection[str],
) -> list[str]:
    """What is missing, of another shape or format, or too much in a part of a file, one line each.

    Args:
        expected: shapes by name.
        besides: names that may be there and are not read. Scales of fp8 weights always may.
    """
    missing = [f"no {cut(name)}" for name in expected if name not in part]
    shapes = [
        f"{cut(name)} has the shape {cut(str(list(part[name].shape)))} instead of {list(shape)}"
        for name, shape in expected.items()
        if name in part and part[name].shape != shape and (part[name].shape, shape) != ((1,), ())
    ]
    formats = [
        f"{name} is stored as {part[name].dtype}, and only {', '.join(sorted(READABLE))} are read"
        for name in expected
        if name in part and part[name].dtype not in READABLE
    ]
    blocks = [
        f"{name} scales {info.elements} blocks, and only one scale for a whole tensor is read"
        for name, info in part.items()
        if name.endswith(SCALES) and info.elements != 1
    ]
    extra = [
        f"{cut(name)} is unknown"
        for name in part
        if name not in expected
        and name not in besides
        and not name.endswith(_MARK)
        and not name.endswith(_BESIDES)
    ]
    return [*missing, *shapes, *formats, *blocks, *extra]
