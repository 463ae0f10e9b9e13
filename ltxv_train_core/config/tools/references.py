"""Built-in reference videos for an IC-LoRA. Widgets and command line derive from these fields."""

from pathlib import Path
from typing import Literal

from pydantic import model_validator

from ..base import Section, option


class ReferenceFilter(Section):
    """The filter that turns a clip into a reference. Options of other kinds are ignored."""

    kind: Literal["canny", "grayscale", "blur", "downscale"] = option(
        "canny",
        "canny: white edges on black. grayscale: without colours. blur: Gaussian blur. downscale: "
        "reduced and enlarged again.",
    )
    low: float = option(
        0.1, "canny: an edge continues while the gradient is above this.", ge=0.01, le=1, step=0.01
    )
    high: float = option(
        0.2, "canny: an edge starts where the gradient is above this.", ge=0.01, le=1, step=0.01
    )
    sigma: float = option(8.0, "blur: standard deviation in pixels.", ge=0.1, le=1024, step=0.1)
    factor: int = option(
        4, "downscale: the factor by which width and height are reduced.", ge=2, le=64
    )

    @model_validator(mode="after")
    def _low_below_high(self) -> "ReferenceFilter":
        if self.low > self.high:
            raise ValueError(f"low {self.low} is above high {self.high}; give low <= high")
        return self


class ReferenceSettings(ReferenceFilter):
    """References for a whole data set."""

    source: Path = option(
        ..., "A metadata file (csv, json, jsonl), or a folder of media with .txt captions."
    )
    output: Path | None = option(
        None,
        "Metadata file to write, .json, in the folder of the source; by default "
        "<name of the source>-<kind>.json.",
        advanced=True,
    )
    caption_column: str = option(
        "caption", "Column (or JSON key) with the captions.", min_length=1, advanced=True
    )
    video_column: str = option(
        "media_path", "Column with the paths of the media.", min_length=1, advanced=True
    )
    mask_column: str = option(
        "mask_path", "Column with masks. It is copied to the new file.", advanced=True
    )

    @property
    def effect(self) -> ReferenceFilter:
        """The filter alone."""
        names = ReferenceFilter.model_fields
        return ReferenceFilter(**{name: getattr(self, name) for name in names})
