"""Finds fp8 weights that are stored rotated, by their statistics.

Lightricks' own fp8 files (0.9.7 and 0.9.8 `-fp8`) are made for its q8 kernels, which rotate a layer's
inputs by a Walsh-Hadamard matrix, and hold weights that are rotated to match (ComfyUI-LTXVideo#186). No
name or metadata entry is known to say so. It is inferred here: trained weights have heavier tails than a
normal distribution, and a rotation mixes them until they have not. Weights whose tails are light, and
become heavy when they are rotated back, are stored rotated. Where they are light both ways nothing can be
told, and such a file is taken as plain.

Shapes: r rows, i inputs of a layer, b inputs that are rotated together.
"""

import re
from collections.abc import Iterator
from typing import Any

import numpy as np

from ..storage.reading import open_regular
from ..storage.safetensors_header import Header, TensorInfo

ROTATED = (
    "its fp8 weights look rotated (Walsh-Hadamard), as Lightricks' own -fp8 files are for its q8 kernels; "
    "without those they are noise. Use the bf16 file, or one in fp8 as ComfyUI scales it"
)
_LAYER = re.compile(
    r"transformer_blocks\.\d+\.(attn[12]\.to_(q|k|v|out\.0)|ff\.net\.(0\.proj|2))\.weight$"
)
_FP8 = ("F8_E4M3", "F8_E5M2")
# Some rows of some layers tell it, and a file of 22 GB is not read as a whole.
_MOST_LAYERS, _ROWS, _VALUES = 23, 64, 131_072
_FEWEST_INPUTS, _MOST_INPUTS = 64, 65_536
_SMALLEST_BLOCK = 16
# Of a normal distribution the fourth moment is 3; its estimate here is exact to 0.014 (4,096 inputs) or 0.04 (256).
_LIGHT, _HEAVY = 3.2, 3.4
# A single odd layer of a plain file is no proof.
_FEWEST_ROTATED, _LEAST_SHARE = 2, 0.25


def is_rotated(header: Header) -> bool:
    """Whether the fp8 layers of a transformer are clearly stored rotated. Reads a few rows of some."""
    tails = [_tails(weights) for weights in _samples(header)]
    rotated = sum(stored <= _LIGHT and back >= _HEAVY for stored, back in tails)
    plain = sum(stored >= _HEAVY for stored, _ in tails)
    enough = max(_FEWEST_ROTATED, _LEAST_SHARE * len(tails))
    return rotated >= enough and rotated >= 10 * plain


def _samples(header: Header) -> Iterator[np.ndarray[Any, Any]]:
    """Rows [r, i] of some layers that are stored in fp8, as floats."""
    layers = [
        info
        for name, info in header.tensors.items()
        if info.dtype in _FP8 and _LAYER.search(name) and _has_size(info)
    ]
    with open_regular(header.path) as file:
        count = min(len(layers), _MOST_LAYERS)
        for info in (layers[number * len(layers) // count] for number in range(count)):
            inputs = info.shape[1]
            rows = min(info.shape[0], _ROWS, _VALUES // inputs)
            # Out of the middle: the first and last rows may be padding.
            file.seek(info.start + (info.shape[0] - rows) // 2 * inputs)
            stored = np.frombuffer(file.read(rows * inputs), np.uint8)
            yield _floats(stored, info.dtype).reshape(rows, inputs)


def _has_size(info: TensorInfo) -> bool:
    return len(info.shape) == 2 and info.shape[0] > 0 and _is_rotatable(info.shape[1])


def _is_rotatable(inputs: int) -> bool:
    return _FEWEST_INPUTS <= inputs <= _MOST_INPUTS and inputs % _SMALLEST_BLOCK == 0


def _floats(stored: np.ndarray[Any, Any], dtype: str) -> np.ndarray[Any, Any]:
    """fp8 numbers by way of float16; their common scale doesn't matter here."""
    byte = stored.astype(np.uint16)
    bits = (byte & 0x80) << 8 | (byte & 0x7F) << 7 if dtype == "F8_E4M3" else byte << 8
    return np.nan_to_num(
        bits.astype(np.uint16).view(np.float16).astype(np.float32), posinf=0.0, neginf=0.0
    )


def _tails(weights: np.ndarray[Any, Any]) -> tuple[float, float]:
    """The fourth moment of weights [r, i] as they are stored, and the largest after a rotation back.

    Every size of a block b is tried. The first number of each rotated block, the sum of its weights,
    is left out: a mean that isn't 0 would be an outlier there.
    """
    rows, inputs = weights.shape
    lengths = np.sqrt(np.square(weights).mean(1, keepdims=True))
    weights = weights / np.where(lengths > 0, lengths, 1)
    stored, back, block = _fourth_moment(weights), 0.0, 1
    rotated = weights
    while inputs % (2 * block) == 0:
        pairs = rotated.reshape(rows, -1, 2, block)
        first, second = pairs[:, :, 0], pairs[:, :, 1]
        rotated = np.stack([first + second, first - second], 2) / np.float32(2**0.5)
        block *= 2
        if block >= _SMALLEST_BLOCK:
            back = max(back, _fourth_moment(rotated.reshape(rows, -1, block)[:, :, 1:]))
    return stored, back


def _fourth_moment(values: np.ndarray[Any, Any]) -> float:
    """The mean fourth power over the squared mean square: 3 for a normal distribution."""
    squares = np.square(values)
    size = float(squares.mean())
    return float(np.square(squares).mean()) / size**2 if size > 0 else 0.0
