"""How a family's models are found and opened."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeAlias

from ..events import Reporter, StopSignal
from .family import Family, PublishedVersion
from .model import Model, Part, TextEncoderPart

if TYPE_CHECKING:
    from torch import Tensor


Tensors: TypeAlias = "tuple[dict[str, Tensor], dict[str, str]]"
"""Tensors, and the metadata of the file that would hold them."""

InFile = tuple[Path, str]
"""A file, and what stands before the names of a part's tensors in it."""

Place = Path | PublishedVersion | str
"""Where a model is: a file or folder, a published version, or the name of a repository or of the model that
comes with this program."""


class Opener(Protocol):
    """What a family does with the places of models. A module: `families/ltxv/opening.py` is one."""

    @property
    def FAMILY(self) -> Family: ...

    def recognises(self, place: Path) -> bool:
        """Whether a file or folder is of this family's, from heads and descriptions. Raises nothing."""
        ...

    def open_place(
        self, name: str, place: Place, report: Reporter, stop: StopSignal | None
    ) -> Model:
        """A model; loads nothing but its description.

        Raises:
            ModelError: it is none of this family's.
            Cancelled: when a download was stopped.
        """
        ...

    def open_text_encoder(
        self, source: str, model: Model | None, report: Reporter, stop: StopSignal | None
    ) -> TextEncoderPart:
        """A text encoder that the user names. Raises `ModelError` when it is none.

        Args:
            model: whose other parts it works with; None where there is none yet, and it is only looked at.
        """
        ...

    def open_text_projection(self, source: str) -> Part:
        """A text projection that the user names. Raises `ModelError` when it is none."""
        ...

    def open_vae(self, source: str, report: Reporter, stop: StopSignal | None) -> Part:
        """A VAE that the user names. Raises `ModelError` when it is none."""
        ...

    def open_audio_vae(self, source: str) -> Part:
        """An audio VAE that the user names. Raises `ModelError` when it is none."""
        ...

    def comfyui_file(self, model: Model, part: str) -> InFile | None:
        """Where a part lies that ComfyUI's own loaders read; None where it has to be converted."""
        ...

    def comfyui_tensors(self, model: Model, part: str) -> Tensors:
        """A transformer or VAE under ComfyUI's names without a prefix; it may be downloaded.

        Raises:
            ModelError: it can't be loaded.
            Cancelled: when a download was stopped.
        """
        ...
