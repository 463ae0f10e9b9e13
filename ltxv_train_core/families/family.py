"""What may be asked of a model family before anything of a model is loaded. No torch."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol


class PublishedVersion(Protocol):
    """A published model.

    Attributes:
        repository: where it is on the Hugging Face Hub.
    """

    @property
    def repository(self) -> str: ...


class LayerNames(Protocol):
    """How the layers of a family's transformers are called, without prefix.

    A module: `families/ltxv/layers.py` is one.

    Attributes:
        TRANSFORMER_NAMES: how diffusers' names of a transformer's tensors begin.
    """

    @property
    def TRANSFORMER_NAMES(self) -> tuple[str, ...]: ...

    def layer_name(self, written: str) -> str | None:
        """diffusers' name of a linear layer by any of its names; None where there is no such layer."""
        ...

    def comfy_name(self, name: str) -> str:
        """ComfyUI's name of a module or tensor, from diffusers' name."""
        ...

    def diffusers_name(self, name: str) -> str:
        """diffusers' name of a module or tensor, from ComfyUI's name."""
        ...

    def new_transformer(self, config: Mapping[str, Any]) -> Any:
        """A transformer of a configuration in diffusers' words; to be called on the meta device."""
        ...

    def module_names(self, blocks: int | None) -> tuple[list[str], list[str]]:
        """Linear layers and other modules of a transformer with so many blocks; None: with the most."""
        ...


@dataclass(frozen=True)
class Family:
    """A family of models.

    Attributes:
        name: as errors call it.
        architecture: of whole transformers in `modelspec.architecture` of a file's metadata.
        versions: what is published, by the names that `model_source` takes.
        repositories: on the Hub that its models come from.
        layers: names of its transformers' layers.
        shipped: the folder of the model that comes with this program.
    """

    name: str
    architecture: str
    versions: Mapping[str, PublishedVersion]
    repositories: frozenset[str]
    layers: LayerNames
    shipped: Path
