"""Whether a file to start from is of a model of the same sizes, found before any model is loaded."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import nn

from ..errors import ModelError, cut
from ..families.family import Family
from ..models.sources.meta_loading import on_meta
from ..models.transformer import Transformer

Shape = tuple[int, ...]
_BLOCK = re.compile(r"transformer_blocks\.([0-9]+)\.")
_PUBLIC = {(28, 2048): "2B", (48, 4096): "13B"}


@dataclass(frozen=True)
class ModelSizes:
    """A base model by its configuration in diffusers' words.

    Attributes:
        name: as the user gave it.
        family: what it is a model of.
    """

    name: str
    config: Mapping[str, Any]
    family: Family

    @property
    def blocks(self) -> int:
        """Number of transformer blocks."""
        count = self.config.get("num_layers")
        return count if type(count) is int else len(self._built(None).transformer_blocks)

    def shapes(self) -> dict[str, Shape]:
        """Shapes of all tensors, by diffusers' names."""
        return {n: tuple(value.shape) for n, value in self._built(None).state_dict().items()}

    def linear_shapes(self) -> dict[str, Shape]:
        """[outputs, inputs] of the linear layers, by name; of the blocks the first stands for all."""
        modules = self._built(1).named_modules()
        return {n: tuple(m.weight.shape) for n, m in modules if isinstance(m, nn.Linear)}

    def __str__(self) -> str:
        config = self._built(1).config  # with what diffusers takes for options that are left out
        width = config.num_attention_heads * config.attention_head_dim
        return _described(self.name, self.blocks, width)

    def _built(self, blocks: int | None) -> Transformer:
        config = dict(self.config) | ({} if blocks is None else {"num_layers": blocks})
        module: Transformer = on_meta(lambda: self.family.layers.new_transformer(config))
        return module


def require_lora_of(where: str, shapes: Mapping[str, Shape], model: ModelSizes) -> None:
    """Raises `ModelError` for a LoRA that is of a model of other sizes.

    Args:
        where: the option and the file.
        shapes: [outputs, inputs] of each layer that it changes.
    """
    own = model.linear_shapes()
    for name, shape in shapes.items():
        block = _BLOCK.match(name)
        number = int(block[1]) if block else 0
        wanted = own.get(_BLOCK.sub("transformer_blocks.0.", name, count=1))
        if number >= model.blocks or (wanted is not None and wanted != shape):
            blocks = max((int(b[1]) + 1 for b in map(_BLOCK.match, shapes) if b), default=0)
            difference = (
                f"it changes {name}"
                if number >= model.blocks
                else f"{name} is {shape[0]}x{shape[1]} instead of {wanted[0]}x{wanted[1]}"
                if wanted
                else ""
            )
            width = _width(shapes)
            given = _described("a LoRA", blocks, width) if width else "a LoRA"
            raise ModelError(
                f"{where}: is {given} of another model than model.model_source {model} "
                f"({difference}); take a LoRA of the same model"
            )


def require_transformer_of(where: str, shapes: Mapping[str, Shape], model: ModelSizes) -> None:
    """Raises `ModelError` for a whole transformer that lacks tensors or has others."""
    own = model.shapes()
    wrong = sorted(n for n in own.keys() | shapes.keys() if own.get(n) != shapes.get(n))
    if wrong:
        raise ModelError(
            f"{where}: is of another model than model.model_source {model}; {len(wrong)} tensors are "
            f"missing, too many or of another shape, the first is {cut(wrong[0])}"
        )


def _width(shapes: Mapping[str, Shape]) -> int:
    """Of the model that a LoRA is of, by a layer that has it on both sides; 0 where it has none."""
    square = (s[0] for n, s in shapes.items() if ".attn1." in n and s[0] == s[1])
    return next(square, 0)


def _described(name: str, blocks: int, width: int) -> str:
    public = _PUBLIC.get((blocks, width))
    return f"{cut(name)} ({f'{public}: ' if public else ''}{blocks} blocks of width {width})"
