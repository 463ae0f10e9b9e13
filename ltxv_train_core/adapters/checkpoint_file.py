"""The linear layers of a transformer in a checkpoint file, read one at a time.

Any file with an LTX-Video transformer in one piece: a whole checkpoint, a transformer alone, with
ComfyUI's names or diffusers'. The file is memory-mapped.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from ..errors import ModelError
from ..layout.names import diffusers_name
from .layer_names import layer_name
from .lora_file import name_some

_PREFIX = re.compile(r"^(?:model\.)?diffusion_model\.")
_TRANSFORMER = (
    *("transformer_blocks.", "proj_in.", "proj_out.", "time_embed.", "caption_projection."),
    "scale_shift_table",
)
_SCALES = ("scale_weight", "weight_scale")
_FLOATS = {"F32", "F16", "BF16", "F64"}
_FLOATS_OF_8_BITS = {"F8_E4M3", "F8_E5M2"}


class CheckpointFile:
    """An open checkpoint.

    Attributes:
        layers: the key of each linear layer's weight, by diffusers' name of the layer.
        others: the keys of the transformer's other tensors, by diffusers' names.
    """

    def __init__(self, path: Path, file: Any):
        self.path = path
        self.file = file
        self.keys: list[str] = list(file.keys())
        self.metadata: dict[str, str] = file.metadata() or {}
        names = {diffusers_name(_PREFIX.sub("", key)): key for key in self.keys}
        weights = {name: key for name, key in names.items() if name.endswith(".weight")}
        self.layers = {
            layer: key
            for name, key in weights.items()
            if (layer := layer_name(name.removesuffix(".weight")))
        }
        linear = set(self.layers.values())
        self.others = {
            name: key
            for name, key in names.items()
            if name.startswith(_TRANSFORMER) and key not in linear and not name.endswith(_SCALES)
        }
        if not self.layers:
            raise ModelError(
                f"{path}: holds no LTX-Video transformer; expected keys such as "
                "model.diffusion_model.transformer_blocks.0.attn1.to_q.weight, found "
                f"{name_some(self.keys) or 'none'}"
            )

    def dtype(self, key: str) -> str:
        return self.file.get_slice(key).get_dtype()

    def shape(self, key: str) -> tuple[int, ...]:
        return tuple(self.file.get_slice(key).get_shape())

    def tensor(self, key: str) -> Tensor:
        return self.file.get_tensor(key)

    def is_eight_bit(self, key: str) -> bool:
        return self.dtype(key) in _FLOATS_OF_8_BITS

    def require_floats(self, names: Iterator[str]) -> None:
        """Raises `ModelError` for a layer whose weights are packed in another way than as floats."""
        for name in names:
            kind = self.dtype(self.layers[name])
            if kind not in _FLOATS | _FLOATS_OF_8_BITS:
                raise ModelError(
                    f"{self.path}: {self.layers[name]} is stored as {kind}; expected a file in "
                    "float32, bf16, fp16 or fp8"
                )

    def weight(self, name: str) -> Tensor:
        """A layer's weight as it is used, float32."""
        key = self.layers[name]
        return self.tensor(key).float() * self._scale(key)

    def stored(self, name: str, weight: Tensor) -> Tensor:
        """A layer's weight float32 as this file stores it."""
        key = self.layers[name]
        dtype = self.tensor(key).dtype
        weight = weight / self._scale(key)
        if self.is_eight_bit(key):
            limit = torch.finfo(dtype).max
            weight = weight.clamp(-limit, limit)
        return weight.to(dtype)

    def _scale(self, key: str) -> Tensor:
        """What an 8-bit weight is multiplied with when it is used."""
        stem = key.removesuffix("weight")
        found = next((k for s in _SCALES if (k := stem + s) in self.keys), None)
        return torch.ones(()) if found is None else self.tensor(found).float()


@contextmanager
def open_checkpoint(path: Path) -> Iterator[CheckpointFile]:
    """Opens a checkpoint; no weight is read before it is asked for.

    Raises:
        ModelError: if it can't be read, or has no LTX-Video transformer.
    """
    try:
        opened = safe_open(path, "pt")
    except (OSError, SafetensorError) as error:
        raise ModelError(f"{path}: can't be read as a safetensors file ({error})") from error
    with opened as file:
        yield CheckpointFile(path, file)
