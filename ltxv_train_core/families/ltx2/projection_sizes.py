"""The sizes of a text projection in a file. No torch."""

from collections.abc import Mapping
from dataclasses import dataclass

from ...storage.safetensors_header import TensorInfo

BOTH, VIDEO, AUDIO = "aggregate_embed", "video_aggregate_embed", "audio_aggregate_embed"
"""Names of its layers: LTX-2.0's for both streams, and those of later ones."""


@dataclass(frozen=True)
class ProjectionSizes:
    """Of a projection in a file.

    Attributes:
        inputs: D * N.
        widths: of its layers by name: one for both streams, or one for each.
        biased: those that add a bias.
    """

    inputs: int
    widths: Mapping[str, int]
    biased: frozenset[str]


def read_projection(part: Mapping[str, TensorInfo]) -> ProjectionSizes | None:
    """A projection in a file; None where there is none.

    Args:
        part: tensors by their names behind `text_embedding_projection.`.
    """
    both = {BOTH} if f"{BOTH}.weight" in part else set()
    names = both or {VIDEO, AUDIO}
    found = {name: part.get(f"{name}.weight") for name in sorted(names, reverse=True)}
    shapes = {name: info.shape for name, info in found.items() if info is not None}
    inputs = {shape[1] for shape in shapes.values() if len(shape) == 2}
    if len(shapes) != len(names) or len(inputs) != 1:
        return None
    return ProjectionSizes(
        inputs.pop(),
        {name: shape[0] for name, shape in shapes.items()},
        frozenset(name for name in names if f"{name}.bias" in part),
    )
