"""A transformer in a single file, of any family."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from ..errors import ModelError, shown
from ..formats.rotated import ROTATED, is_rotated
from ..formats.tensors import FP8
from ..models.device import holds_float8
from ..models.sources.tensor_match import require_shapes
from ..storage.safetensors_header import Header, content_of
from .layers import TransformerLayers

if TYPE_CHECKING:
    import torch

    from ..models.transformer import Transformer


class TransformerFile:
    """What all families' transformers in files have in common.

    Attributes:
        name: of the model, as the user gave it.
        prefix: of the tensors' names in the file.
        config: diffusers' configuration.
        layers: of the family.
        elsewhere: how names of other parts begin, where the transformer's have no prefix.
    """

    layers: TransformerLayers
    elsewhere: tuple[str, ...]

    def __init__(self, name: str, header: Header, prefix: str, config: Mapping[str, Any]):
        self.name, self.header, self.prefix, self.config = name, header, prefix, config

    @property
    def identity(self) -> str:
        return self.header.identity()

    @property
    def content(self) -> str:
        return content_of(self.header.samples(self.prefix))

    @property
    def is_fp8(self) -> bool:
        """It stays in fp8 where some of it is stored so and this device knows it."""
        tensors = self.header.below(self.prefix).values()
        return any(info.dtype in FP8 for info in tensors) and holds_float8()

    @property
    def module_names(self) -> tuple[list[str], list[str]]:
        return self.layers.modules_in(self.header.below(self.prefix))

    def besides(self) -> set[str]:
        """Names below the prefix that are no part of the transformer."""
        return set()

    def require(self) -> None:
        """Raises `ModelError` when tensors are missing, have other shapes or are rotated. Builds no module."""
        shapes = self.layers.shapes(self.config)
        names = self._names(shapes)
        expected = {names[name]: shape for name, shape in shapes.items()}
        require_shapes(self.header, self.prefix, expected, self.besides(), self.elsewhere)
        if is_rotated(self.header):
            raise ModelError(f"model_source {shown(self.name)}: {ROTATED}")

    def load(self, dtype: torch.dtype) -> Transformer:
        """Linear layers that are stored in fp8 stay so."""
        from ..models.sources.meta_loading import fill, on_meta

        self.require()
        module: Transformer = on_meta(lambda: self.layers.new_transformer(self.config))
        loaded: Transformer = fill(module, self.header, self._names(module.state_dict()), dtype)
        return loaded.eval()

    def _names(self, own: Iterable[str]) -> dict[str, str]:
        """The file's names of tensors, by diffusers' names."""
        comfy = f"{self.prefix}{self.layers.comfy_name('proj_in')}.weight"
        theirs = self.layers.comfy_name if comfy in self.header.tensors else str
        return {name: self.prefix + theirs(name) for name in own}
