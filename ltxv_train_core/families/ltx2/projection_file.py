"""The text projection of LTX-2.x: in a checkpoint, in LTX-2.5's text encoder file, in a file by itself, or beside
the connectors of a folder in the diffusers layout."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from ...storage.safetensors_header import Header, TensorInfo, content_of
from .projection_sizes import ProjectionSizes, read_projection

if TYPE_CHECKING:
    import torch

    from .text_projection import TextProjection


_PREFIX = "text_embedding_projection."
_IN_FOLDERS = {
    "text_proj_in": "aggregate_embed",
    "video_text_proj_in": "video_aggregate_embed",
    "audio_text_proj_in": "audio_aggregate_embed",
}


class ProjectionFiles:
    """A text projection in one file or several.

    Attributes:
        sizes: of it.
    """

    def __init__(
        self, headers: tuple[Header, ...], names: Mapping[str, str], sizes: ProjectionSizes
    ):
        self._headers, self._names, self.sizes = headers, names, sizes

    @property
    def path(self) -> Path:
        return self._headers[0].path

    @property
    def content(self) -> str:
        """Names the weights, the same in every layout."""
        return content_of(
            {
                one
                for header in self._headers
                for name in self._names.values()
                for one in header.samples(name)
            }
        )

    @property
    def identity(self) -> str:
        return self.content

    def require(self) -> None:
        """Its sizes were looked at when it was found."""

    def load(self, dtype: torch.dtype) -> TextProjection:
        from ...models.sources.meta_loading import fill_from, on_meta
        from .text_projection import TextProjection

        projection = on_meta(lambda: TextProjection(self.sizes))
        return fill_from(projection, self._headers, self._names, dtype).eval()


def find_projection(*headers: Header) -> ProjectionFiles | None:
    """The text projection in files; None where they hold none."""
    found: dict[str, tuple[str, TensorInfo]] = {}
    for header in headers:
        for name, info in header.tensors.items():
            if own := _own_name(name):
                found[own] = (name, info)
    sizes = read_projection({own: info for own, (_, info) in found.items()})
    if sizes is None:
        return None
    wanted = {name: own for own, (name, _) in found.items() if own.split(".")[0] in sizes.widths}
    return ProjectionFiles(headers, {own: name for name, own in wanted.items()}, sizes)


def _own_name(name: str) -> str | None:
    """A tensor's name in `TextProjection`; None for those of other parts."""
    if name.startswith(_PREFIX):
        rest = name.removeprefix(_PREFIX)
        return f"aggregate_embed.{rest}" if "." not in rest else rest  # one that ComfyUI has saved
    layer, _, leaf = name.partition(".")
    return f"{_IN_FOLDERS[layer]}.{leaf}" if layer in _IN_FOLDERS else None
