"""The text encoder as a part of a model: Gemma, the text projection and the connectors, wherever each lies."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...errors import ModelError, cut
from ...storage.atomic import sha256_json
from ..model import MissingPart, Part
from .gemma import GEMMA_3, GEMMA_4
from .gemma_file import GemmaFiles
from .missing_parts import NEEDED
from .projection_file import ProjectionFiles

if TYPE_CHECKING:
    import torch

    from .text_encoder import LTX2TextEncoder


_KINDS = {"LTX-2.0": (GEMMA_3, 1), "LTX-2.3": (GEMMA_3, 2), "LTX-2.5": (GEMMA_4, 2)}
"""Of a generation: its text encoder, and how many projections it has."""

NO_PROJECTION = (
    "{where}: holds no text projection (text_embedding_projection), and neither does the model's file: name the file "
    "that does in text_projection_source: the checkpoint as it was published, or ComfyUI's file with the text "
    "projection of {generation}"
)


class TextEncoder:
    """Gemma with what its hidden states go through.

    Attributes:
        width: None: what the transformer reads is of its connectors' width, whatever Gemma gives.
    """

    width = None

    def __init__(
        self,
        gemma: GemmaFiles,
        projection: ProjectionFiles | None,
        connectors: Part,
        generation: str | None,
    ):
        """
        Args:
            connectors: of the model.
            generation: of the model; None where there is no model yet.
        """
        self._gemma, self._projection = gemma, projection
        self._connectors, self._generation = connectors, generation

    @property
    def encoding(self) -> str:
        """Names all that embeddings depend on."""
        projection = self._projection and self._projection.content
        return sha256_json([self._gemma.content, projection, self._connectors.content])[:32]

    @property
    def identity(self) -> str:
        return self.encoding

    @property
    def content(self) -> str | None:
        """That of the connectors alone: of a text encoder on the canvas no more is known, and a data set that
        was made with one stays usable."""
        return self._connectors.content

    def require(self) -> None:
        """Raises `ModelError` when a part is missing, or belongs to another generation."""
        if isinstance(self._connectors, MissingPart):
            self._connectors.require()
        self._found_projection()
        self._gemma.require()
        self._connectors.require()

    def load(self, dtype: torch.dtype) -> LTX2TextEncoder:
        from .text_encoder import LTX2TextEncoder

        projection = self._found_projection().load(dtype)
        connectors = self._connectors.load(dtype)
        gemma, tokenize = self._gemma.load(dtype)
        return LTX2TextEncoder(gemma, tokenize, projection, connectors)

    def _found_projection(self) -> ProjectionFiles:
        """Raises `ModelError` where Gemma, projection and model don't belong together."""
        place, gemma, generation = self._gemma.place, self._gemma.gemma, self._generation
        assert generation is not None
        name, count = _KINDS[generation]
        if gemma.name != name:
            raise ModelError(
                f"text_encoder_source {cut(str(place))!r}: is {gemma.name}, and the model is an {generation}, "
                f"which needs {NEEDED[generation.removeprefix('LTX-')]}"
            )
        if self._projection is None:
            raise ModelError(NO_PROJECTION.format(where=place, generation=generation))
        sizes = self._projection.sizes
        if len(sizes.widths) != count:
            raise ModelError(
                f"{self._projection.path}: its text projection is one of another generation: {generation} "
                f"has {count} ({'one for both streams' if count == 1 else 'video and audio'})"
            )
        if sizes.inputs != gemma.width * gemma.states:
            raise ModelError(
                f"{self._projection.path}: its text projection reads {sizes.inputs:,} numbers for each token, and "
                f"{cut(str(place))!r} gives {gemma.states} hidden states of {gemma.width:,}"
            )
        return self._projection
