"""Names of a transformer's layers, and which of them a LoRA file means, by whatever name."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from ..storage.safetensors_header import TensorInfo
from .tensor_shapes import Config

_BLOCK = re.compile(r"transformer_blocks_([0-9]{1,4})_")
_FIRST = "transformer_blocks.0"


@dataclass(frozen=True)
class TransformerLayers:
    """The layers of a family's transformers, without prefix.

    Attributes:
        tensor_names: how diffusers' names of a transformer's tensors begin.
        comfy: parts of names in ComfyUI's files, by diffusers' parts where they differ.
        most_blocks: of the largest version.
        new_transformer: a transformer of a configuration in diffusers' words; to be called on the meta
            device.
        shapes: those of its tensors, by name, without building it.
        richest: the configuration of a transformer that has all layers that any version has.
        other_parts: how ComfyUI's names of tensors begin that lie among the transformer's and belong to
            another part of a model.
        unknown_to_diffusers: how the names of layers begin that diffusers doesn't find in a LoRA with ComfyUI's
            names.
        alone: patterns of the layers that run where a transformer of several streams sees one of them alone.
    """

    tensor_names: tuple[str, ...]
    comfy: Mapping[str, str]
    most_blocks: int
    new_transformer: Callable[[Config], Any]
    shapes: Callable[[Config], dict[str, tuple[int, ...]]]
    richest: Config
    other_parts: tuple[str, ...] = ()
    unknown_to_diffusers: tuple[str, ...] = ()
    alone: Mapping[str, re.Pattern[str]] = field(default_factory=dict)

    def comfy_name(self, name: str) -> str:
        """ComfyUI's name of a module or tensor, from diffusers' name."""
        return ".".join(self.comfy.get(part, part) for part in name.split("."))

    def diffusers_name(self, name: str) -> str:
        """diffusers' name of a module or tensor, from ComfyUI's name."""
        return ".".join(self._diffusers.get(part, part) for part in name.split("."))

    def modules_in(self, tensors: Mapping[str, TensorInfo]) -> tuple[list[str], list[str]]:
        """As `module_names`, of a transformer in a file: the modules that have tensors, and those around them.

        Args:
            tensors: by names without prefix, diffusers' or ComfyUI's.
        """
        return _modules(
            {
                self.diffusers_name(name): info.shape
                for name, info in tensors.items()
                if not name.startswith(self.other_parts)
            }
        )

    def layer_name(self, written: str) -> str | None:
        """diffusers' name of a linear layer; None where there is no such layer.

        Args:
            written: the name without prefix, diffusers' or ComfyUI's, with dots or underscores.
        """
        flat = written.replace(".", "_")
        block = _BLOCK.match(flat)
        if block:
            flat = f"transformer_blocks_0_{flat[block.end() :]}"
        name = self._by_flat_name.get(flat)
        if name and block:
            return name.replace(f"{_FIRST}.", f"transformer_blocks.{block[1]}.")
        return name

    def module_names(self, blocks: int | None) -> tuple[list[str], list[str]]:
        """The modules of a transformer: linear layers, and others.

        The names are the same for every version; only the number of blocks differs.

        Args:
            blocks: None where it isn't known: as many as the largest version has.
        """
        linear, others = self._of_one_block
        count = blocks or self.most_blocks
        return _in_blocks(linear, count), _in_blocks(others, count)

    @cached_property
    def _diffusers(self) -> dict[str, str]:
        return {theirs: ours for ours, theirs in self.comfy.items()}

    @cached_property
    def _of_one_block(self) -> tuple[list[str], list[str]]:
        """The linear layers and the other modules of a transformer with one block."""
        return _modules(self.shapes({**self.richest, "num_layers": 1}))

    @cached_property
    def _by_flat_name(self) -> dict[str, str]:
        """The linear layers of a transformer with one block, by both names with underscores."""
        return {
            alias.replace(".", "_"): name
            for name in self._of_one_block[0]
            for alias in (name, self.comfy_name(name))
        }


def _modules(shapes: Mapping[str, tuple[int, ...]]) -> tuple[list[str], list[str]]:
    """Linear layers, and the modules around them, by the shapes of a transformer's tensors."""
    linear: dict[str, None] = {}
    others: dict[str, None] = {}
    for name, shape in shapes.items():
        *path, end = name.split(".")
        if end == "weight" and len(shape) == 2:
            linear[".".join(path)] = None
        others |= dict.fromkeys(".".join(path[:count]) for count in range(1, len(path) + 1))
    return list(linear), [name for name in others if name not in linear]


def _in_blocks(names: list[str], blocks: int) -> list[str]:
    return [
        name.replace(_FIRST, f"transformer_blocks.{number}", 1)
        for name in names
        for number in range(blocks if name.startswith(_FIRST) else 1)
    ]
