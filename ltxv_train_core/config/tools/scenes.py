"""Long videos split into scenes. Widgets and command line derive from these fields."""

from pathlib import Path
from typing import Literal

from ..base import Section, option


class SplitSettings(Section):
    """How scenes are detected, and which are written."""

    source: Path = option(..., "A folder of videos, or one video.")
    output: Path | None = option(
        None,
        "Folder to write to; by default <name of the source>-scenes beside the source.",
        advanced=True,
    )
    detector: Literal["content", "adaptive", "histogram", "threshold"] = option(
        "content",
        "content: cuts, found by the change of colours. adaptive: the same relative to neighbouring "
        "frames, for fast camera movement. histogram: cuts, found by brightness. threshold: fades to black.",
    )
    threshold: float | None = option(
        None,
        "Difference between frames that counts as a cut; by default PySceneDetect's value for the detector.",
        ge=0,
    )
    min_seconds: float = option(2.0, "Shorter scenes are skipped.", ge=0.0, le=3600, step=0.1)

    @property
    def root(self) -> Path:
        """The folder that is written."""
        if self.output is not None:
            return self.output
        source = self.source.absolute()
        name = source.name if source.is_dir() else source.stem
        return source.with_name(f"{name}-scenes")

    @property
    def metadata(self) -> Path:
        """The metadata file in it."""
        return self.root / "dataset.json"
