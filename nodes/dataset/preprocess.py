"""The node that turns videos and captions into what training reads."""

from dataclasses import replace
from typing import Any

from comfy_api.latest import io, ui
from comfy_execution.graph import ExecutionBlocker
from PIL import Image

from ...ltxv_train_core.config import PreprocessSettings, from_widgets, options
from ...ltxv_train_core.errors import LTXVTrainError
from ...ltxv_train_core.manifests.manifest import Columns
from ..comfy.folders import input_path
from ..comfy.images import image_from_pil
from ..comfy.model_files import inputs_with_lists, missing_files, with_files
from ..comfy.sockets import CATEGORY
from ..config.widgets import widget
from ..training.progress import NodeProgress
from ..training.result_files import Given
from ..training.run_job import make_room, run_job
from .changes import state_of_source

# What the canvas calls an option, and suggests for it, where that isn't the option's own.
_ON_THE_CANVAS: dict[str, dict[str, str]] = {
    "source": {"name": "dataset_path", "default": ""},
    "model_source": {"default": "LTXV_13B_097_DEV"},
    "resolution_buckets": {"default": "768x448x89"},
}
_FIELDS = {change["name"]: name for name, change in _ON_THE_CANVAS.items() if "name" in change}

_given = Given()
"""The indexes of preprocessed data sets that nodes gave."""


class LTXVTrainDatasetPreprocess(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="LTXVTrainDatasetPreprocess",
            display_name="Preprocess LTXV Dataset",
            category=CATEGORY,
            description="Reads a data set of videos and captions and writes their latents and "
            "text embeddings for training. What is already there and unchanged is kept. A clip "
            "that can't be used is named and left out.",
            is_output_node=True,
            inputs=[
                *inputs_with_lists(options(PreprocessSettings), _widgets()),
                io.Vae.Input(
                    "vae",
                    optional=True,
                    tooltip="A VAE of LTX-Video that is on the canvas already, used in place of "
                    "model_source's.",
                ),
                io.Clip.Input(
                    "clip",
                    optional=True,
                    tooltip="A CLIP of type ltxv that is on the canvas already, used in place of "
                    "model_source's text encoder. With both connected, model_source loads "
                    "nothing.",
                ),
            ],
            outputs=[
                io.String.Output(
                    display_name="preprocessed_data_root",
                    tooltip="The preprocessed data set, for Configure LTXV Data: its index, in the "
                    "folder that is written.",
                ),
                io.String.Output(
                    display_name="summary",
                    tooltip="What was done, and what the data set holds: clips by size, captions, "
                    "tokens, disk, an estimate of training memory.",
                ),
                io.Image.Output(
                    display_name="contact_sheet",
                    tooltip="Frames of some clips, as they are trained.",
                ),
                io.Image.Output(
                    display_name="verification",
                    tooltip="With verify_clips: clips beside their decoded latents. Without it, "
                    "nodes behind this output do not run.",
                ),
            ],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def validate_inputs(
        cls,
        model_file: str | None = None,
        text_encoder_file: str | None = None,
        vae_file: str | None = None,
    ) -> str | bool:
        return missing_files(
            model_file=model_file, text_encoder_file=text_encoder_file, vae_file=vae_file
        )

    @classmethod
    def fingerprint_inputs(cls, vae: Any = None, clip: Any = None, **values: Any) -> str:
        """Changed files are seen where the path is written on the node itself, deleted latents
        always."""
        gone = _given.count_gone()
        if None in values.values():
            return f"linked, {gone}"
        try:
            settings = _settings(values)
            state = state_of_source(
                str(settings.source), Columns.of(settings), settings.default_caption
            )
            return f"{state}, {gone}"
        except LTXVTrainError as error:
            return str(error)

    @classmethod
    def execute(cls, vae: Any = None, clip: Any = None, **values: Any) -> io.NodeOutput:
        from ...ltxv_train_core.preprocessing.preprocess import preprocess
        from ..comfy.canvas_encoders import clip_source, vae_source

        settings = _settings(values)
        progress = NodeProgress(cls.hidden.unique_id)
        video_encoder = None if vae is None else vae_source(vae)
        caption_encoder = None if clip is None else clip_source(clip)
        make_room()
        summary = run_job(
            lambda report, stop: preprocess(settings, report, stop, video_encoder, caption_encoder),
            progress,
        )
        _given.add(summary.index)
        progress.say(summary.text)
        sheet = image_from_pil(Image.open(summary.sheet))
        verification = summary.verification and image_from_pil(Image.open(summary.verification))
        shown = [sheet] if verification is None else [sheet, verification]
        previews = [ui.PreviewImage(picture, cls=cls).as_dict()["images"] for picture in shown]
        return io.NodeOutput(
            str(summary.index),
            summary.text,
            sheet,
            ExecutionBlocker(None) if verification is None else verification,
            ui={"text": [summary.text], "images": [image for few in previews for image in few]},
        )


def _widgets() -> list[io.Input]:
    """One for each option, as the canvas calls it."""
    return [
        widget(replace(option, **_ON_THE_CANVAS.get(option.name, {})))
        for option in options(PreprocessSettings)
    ]


def _settings(values: dict[str, Any]) -> PreprocessSettings:
    """The settings that the widgets hold."""
    located = {_FIELDS.get(name, name): value for name, value in with_files(values).items()}
    located["source"] = str(input_path(located["source"]))
    if located["output_dir"].strip():
        located["output_dir"] = str(input_path(located["output_dir"]))
    return from_widgets(PreprocessSettings, located)
