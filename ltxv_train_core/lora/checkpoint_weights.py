"""The linear layers of a transformer in a checkpoint file, read one at a time.

Any file with a transformer in one piece: a whole checkpoint, a transformer alone, with
ComfyUI's names or diffusers'. Weights are read when they are asked for.
"""

import math
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor

from ..errors import ModelError, cut
from ..families.layers import TransformerLayers
from ..families.registry import FAMILIES
from ..formats.quantized import quantization
from ..formats.rotated import ROTATED, is_rotated
from ..formats.tensors import READABLE, SCALES
from ..storage.safetensors_header import Header, TensorInfo, read_header
from .file import name_some

LARGEST_LAYER = 2**16
"""Of either side: four times the widest of the public models."""
FP8_LIMITS = {"F8_E4M3": 448.0, "F8_E5M2": 57344.0}
_PREFIX = re.compile(r"^(?:(?:model\.)?diffusion_model\.|model\.)")


class CheckpointFile:
    """An open checkpoint.

    Attributes:
        family: whose transformer it holds.
        layers: the key of each linear layer's weight, by diffusers' name of the layer.
        others: the keys of the transformer's other tensors, by diffusers' names.
    """

    def __init__(self, header: Header, file: Any):
        self.path, self.metadata, self.tensors = header.path, header.metadata, header.tensors
        self._file = file
        # Families call some layers alike: the one that knows most of them knows all.
        named = {family.name: _names_of(list(self.tensors), family.layers) for family in FAMILIES}
        self.family = max(FAMILIES, key=lambda family: len(named[family.name][0]))
        self.layers, self.others = named[self.family.name]
        if not self.layers:
            names = " or ".join(family.name for family in FAMILIES)
            raise ModelError(
                f"{self.path}: holds no transformer of {names}; expected keys such as "
                "model.diffusion_model.transformer_blocks.0.attn1.to_q.weight, found "
                f"{name_some(list(self.tensors)) or 'none'}"
            )

    def info(self, layer: str) -> TensorInfo:
        """What the head says of a layer's weight."""
        return self.tensors[self.layers[layer]]

    def require_floats(self, layers: Iterable[str]) -> None:
        """Raises `ModelError` for a layer whose weights are packed in another way than as floats, or
        scaled block by block."""
        for layer in layers:
            kind, shape = self.info(layer).dtype, self.info(layer).shape
            if len(shape) != 2 or 0 in shape:
                raise ModelError(
                    f"{self.path}: {self.layers[layer]} has the shape {cut(str(list(shape)))}; expected "
                    "[outputs, inputs]"
                )
            if max(shape) > LARGEST_LAYER:
                raise ModelError(
                    f"{self.path}: {self.layers[layer]} has the shape {cut(str(list(shape)))}, which is "
                    "beyond every model"
                )
            scale = self.scale_key(layer)
            if scale is not None and self.tensors[scale].shape[-1:] not in ((), (1,)):
                raise ModelError(
                    f"{self.path}: {scale} scales blocks of its weight; expected one scale for a "
                    "whole tensor, or a file in float32, bf16 or fp16"
                )
            if kind not in READABLE:
                raise ModelError(
                    f"{self.path}: {self.layers[layer]} is stored as {kind}; expected a file in "
                    "float32, bf16, fp16 or fp8"
                )

    def tensor(self, key: str) -> Tensor:
        """The tensor of a key as it is stored, on the CPU."""
        value: Tensor = self._file.get_tensor(key)
        return value

    def weight(self, layer: str) -> Tensor:
        """A layer's weight as it is used, float32."""
        found = self.scale_key(layer)
        weight = self.tensor(self.layers[layer]).float()
        return weight if found is None else weight * self.tensor(found).float()

    def scale_for(self, layer: str, weight: Tensor) -> Tensor | None:
        """What another weight of a layer, float32, is multiplied with when it is used, as this file
        stores it: the layer's own scale, or a larger one if the weight needs it; None where it has
        none."""
        found = self.scale_key(layer)
        if found is None:
            return None
        own = self.tensor(found)
        needed = weight.abs().max() / self._limit(layer)
        return torch.maximum(own.float(), needed).to(own.dtype)

    def stored(self, layer: str, weight: Tensor, scale: Tensor | None) -> Tensor:
        """A layer's weight float32 as this file stores it, to be multiplied with a scale."""
        if scale is not None:
            weight = weight / scale.float()
        limit = self._limit(layer)
        return weight.clamp(-limit, limit).to(self.tensor(self.layers[layer]).dtype)

    def _limit(self, layer: str) -> float:
        """The largest number that a layer's format is clipped to; others than fp8 aren't."""
        return FP8_LIMITS.get(self.info(layer).dtype, math.inf)

    def scale_key(self, layer: str) -> str | None:
        """The key of what an 8-bit weight is multiplied with when it is used."""
        stem = self.layers[layer].removesuffix(".weight")
        return next((stem + end for end in SCALES if stem + end in self.tensors), None)


@contextmanager
def open_checkpoint(path: Path) -> Iterator[CheckpointFile]:
    """Opens a checkpoint.

    Raises:
        ModelError: if it can't be read, is damaged, or has no transformer of a known family.
    """
    header = read_header(path)
    if how := quantization(header):
        raise ModelError(f"{path}: is quantized ({how}), which is not read; use the file in bf16")
    if is_rotated(header):
        raise ModelError(f"{path}: {ROTATED}")
    with safe_open(path, "pt") as file:
        yield CheckpointFile(header, file)


def _names_of(keys: list[str], names: TransformerLayers) -> tuple[dict[str, str], dict[str, str]]:
    """The keys of linear layers' weights and of a transformer's other tensors, by diffusers' names."""
    known = {names.diffusers_name(_PREFIX.sub("", key)): key for key in keys}
    layers = {
        layer: key
        for name, key in known.items()
        if name.endswith(".weight") and (layer := names.layer_name(name.removesuffix(".weight")))
    }
    linear = set(layers.values())
    others = {
        name: key
        for name, key in known.items()
        if name.startswith(names.tensor_names) and key not in linear and not name.endswith(SCALES)
    }
    return layers, others
