"""The built-in reference filters: over a whole data set, and over frames on the canvas."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import torch
from comfy_api.latest import io

from ...ltxv_train_core.config import ReferenceFilter, ReferenceSettings, from_widgets, options
from ...ltxv_train_core.manifests.manifest import Columns
from ...ltxv_train_core.manifests.reference_filters import apply_filter
from ...ltxv_train_core.manifests.references import make_references
from ..comfy.folders import input_path
from ..comfy.images import frames_from_image, image_from_frames
from ..comfy.schema import search_aliases
from ..comfy.sockets import CATEGORY, dataset_output
from ..comfy.widget_problems import WidgetProblem
from ..config.widgets import option_problems, widget
from ..training.progress import NodeProgress
from ..training.run_job import run_job
from .changes import state_of_source
from .source import source_problems

_FILTER_OPTIONS = options(ReferenceFilter)
_DATASET_OPTIONS = tuple(
    option
    for option in options(ReferenceSettings)
    if option.name not in ReferenceFilter.model_fields
)


class LTXVTrainDatasetReferences(io.ComfyNode):
    """Writes a reference video for every clip of a data set."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        source, *others = _DATASET_OPTIONS
        return io.Schema(
            node_id="LTXVTrainDatasetReferences",
            display_name="Write LTXV Reference Videos",
            category=CATEGORY,
            description="Draws the edges of every clip, or blurs it, as the video that an "
            "IC-LoRA learns to follow. One frame is in memory at a time, and "
            "existing references are not written again. The data set itself is not "
            "changed.",
            **search_aliases("dataset", "control", "canny", "ic-lora"),
            is_output_node=True,
            inputs=[
                widget(replace(source, name="dataset_path", default="")),
                *map(widget, _FILTER_OPTIONS),
                *map(widget, others),
            ],
            outputs=[
                dataset_output("Metadata with clips and references, for Preprocess LTXV Dataset.")
            ],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def fingerprint_inputs(
        cls,
        dataset_path: str | None,
        caption_column: str | None,
        video_column: str | None,
        mask_column: str | None,
        **others: object,
    ) -> str:
        """Changed files are seen where the path is written on the node itself."""
        if (
            dataset_path is None
            or caption_column is None
            or video_column is None
            or mask_column is None
        ):
            return "linked"
        columns = Columns(caption_column.strip(), video_column.strip(), "", mask_column.strip())
        return state_of_source(dataset_path, columns)

    @classmethod
    def widget_problems(cls, written: Mapping[str, object]) -> list[WidgetProblem]:
        """What is wrong with the options, and a data set that can't be read."""
        return option_problems(ReferenceSettings, written, names={"source": "dataset_path"}) or (
            source_problems(written, require_captions=False)
        )

    @classmethod
    def execute(cls, dataset_path: str, output: str, **values: object) -> io.NodeOutput:
        source = input_path(dataset_path)
        values["output"] = str(source.parent / output.strip()) if output.strip() else output
        settings = from_widgets(ReferenceSettings, values | {"source": str(source)})
        metadata = run_job(
            lambda report, stop: make_references(settings, report, stop),
            NodeProgress(cls.hidden.unique_id),
        )
        return io.NodeOutput(str(metadata), ui={"text": [str(metadata)]})


class LTXVTrainApplyReferenceFilter(io.ComfyNode):
    """Applies a reference filter to an IMAGE."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="LTXVTrainApplyReferenceFilter",
            display_name="Apply LTXV Reference Filter",
            category=CATEGORY,
            description="Turns a video into the kind of reference that an IC-LoRA was trained "
            "with, such as edges. It applies the filter of Write LTXV Reference "
            "Videos.",
            **search_aliases("control", "canny"),
            inputs=[
                io.Image.Input("images", tooltip="Frames of a video, or a single image."),
                *map(widget, _FILTER_OPTIONS),
            ],
            outputs=[
                io.Image.Output(
                    display_name="images",
                    tooltip="The filtered frames, for Apply LTXV Reference Video.",
                )
            ],
        )

    @classmethod
    def execute(cls, images: torch.Tensor, **values: object) -> io.NodeOutput:
        effect = from_widgets(ReferenceFilter, values)
        frames = apply_filter(effect, frames_from_image(images))
        return io.NodeOutput(image_from_frames(np.stack(list(frames))))
