"""The node that encodes videos and captions for training."""

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from comfy_api.latest import io, ui
from comfy_execution.graph import ExecutionBlocker
from PIL import Image

from ...ltxv_train_core.config import ModelConfig, PreprocessSettings, from_widgets, options
from ...ltxv_train_core.errors import LTXVTrainError
from ...ltxv_train_core.events import Reporter, StopSignal
from ...ltxv_train_core.families.grids import require_size
from ...ltxv_train_core.manifests.manifest import Columns
from ...ltxv_train_core.preprocessing.buckets import named_sizes
from ..comfy.folders import hub_dataset_folder, input_path
from ..comfy.images import image_from_pil
from ..comfy.model_files import inputs_with_lists, with_files, with_model
from ..comfy.prompts import Prompt, written_on
from ..comfy.schema import search_aliases
from ..comfy.sockets import CATEGORY, SECTION_SOCKETS
from ..comfy.widget_problems import WidgetProblem, problems_at
from ..config.base_model import base_model_problems
from ..config.widgets import option_problems, widget
from ..training.progress import NodeProgress
from ..training.result_files import ResultFiles
from ..training.run_job import run_job, unload_models
from .changes import state_of_source
from .source import source_problems

if TYPE_CHECKING:
    from comfy.sd import CLIP, VAE

# What the canvas calls an option, and suggests for it, where that isn't the option's own.
_ON_THE_CANVAS: dict[str, dict[str, Any]] = {
    "source": {"name": "dataset_path", "default": ""},
    "model_source": {"default": "LTXV_13B_097_DEV"},
    "resolution_buckets": {"default": "768x448x89"},
}
_WIDGETS = {name: change["name"] for name, change in _ON_THE_CANVAS.items() if "name" in change}
_FIELDS = {widget: name for name, widget in _WIDGETS.items()}

_indexes = ResultFiles()
"""The indexes of data sets that outputs of these nodes name."""


class LTXVTrainDatasetPreprocess(io.ComfyNode):
    """Encodes a data set and outputs its index, a summary and contact sheets."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="LTXVTrainDatasetPreprocess",
            display_name="Preprocess LTXV Dataset",
            category=CATEGORY,
            description="Prepares your videos and captions for training: run it once before you "
            "train. It writes latents and text embeddings; unchanged clips are not "
            "encoded again, and a clip that can't be used is skipped and named with "
            "the reason.",
            **search_aliases("dataset", "latents", "encode", "precompute"),
            is_output_node=True,
            inputs=[
                *inputs_with_lists(options(PreprocessSettings), _widgets()),
                io.Vae.Input(
                    "vae",
                    optional=True,
                    tooltip="A VAE from the canvas, of the model. It replaces the VAE of model_source.",
                ),
                io.Clip.Input(
                    "clip",
                    optional=True,
                    tooltip="A CLIP of type ltxv from the canvas. It replaces the text encoder of "
                    "model_source. With VAE and CLIP connected, model_source loads nothing, but of LTX-2 the "
                    "connectors, which captions go through.",
                ),
                SECTION_SOCKETS["model"].Input(
                    "model",
                    optional=True,
                    tooltip="The model, from Configure LTXV Model. Connected, it counts instead of this "
                    "node's own model, text encoder and VAE.",
                ),
                io.Vae.Input(
                    "audio_vae",
                    optional=True,
                    tooltip="LTX-2's audio VAE from the canvas, for a model file with sound.",
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
                    tooltip="What was encoded, reused and skipped, and what the data set holds: clips "
                    "by size, captions, tokens, disk, an estimate of training memory.",
                ),
                io.Image.Output(
                    display_name="contact_sheet",
                    tooltip="Contact sheet: frames of some clips, resized and cropped as for training.",
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
    def fingerprint_inputs(
        cls,
        vae: "VAE | None" = None,
        clip: "CLIP | None" = None,
        model: ModelConfig | None = None,
        audio_vae: "VAE | None" = None,
        **values: object,
    ) -> str:
        """Changed files are seen where the path is written on the node itself, deleted latents
        always."""
        gone = _indexes.count_deleted()
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
    def widget_problems(cls, written: Mapping[str, object]) -> list[WidgetProblem]:
        """What is wrong with the options."""
        return option_problems(PreprocessSettings, written, names=_WIDGETS) or problems_at(
            "resolution_buckets", lambda: _require_sizes(written)
        )

    @classmethod
    def graph_problems(cls, prompt: Prompt, node_id: str) -> list[tuple[str, WidgetProblem]]:
        """A model that is nowhere, and a data set that can't be read."""
        source = source_problems(written_on(prompt, node_id), takes_hub_names=True)
        return [*base_model_problems(prompt, node_id), *((node_id, each) for each in source)]

    @classmethod
    def execute(
        cls,
        vae: "VAE | None" = None,
        clip: "CLIP | None" = None,
        model: ModelConfig | None = None,
        audio_vae: "VAE | None" = None,
        **values: object,
    ) -> io.NodeOutput:
        from ...ltxv_train_core.families import names
        from ...ltxv_train_core.manifests.hub_dataset import with_hub_source
        from ...ltxv_train_core.preprocessing.encoders import EncoderSource
        from ...ltxv_train_core.preprocessing.preprocess import PreprocessSummary, preprocess
        from ..comfy.canvas_encoders import audio_vae_source, clip_source, vae_source

        settings = _settings(values, model)
        progress = NodeProgress(cls.hidden.unique_id)
        encoders: dict[str, EncoderSource[object]] = {}
        if vae is not None:
            encoders[names.VAE] = vae_source(vae)
        if clip is not None:
            encoders[names.TEXT_ENCODER] = clip_source(clip)
        if audio_vae is not None:
            encoders[names.AUDIO_VAE] = audio_vae_source(audio_vae)
        repository = str(values["dataset_path"]).strip()
        folder = hub_dataset_folder(repository)

        def work(report: Reporter, stop: StopSignal) -> PreprocessSummary:
            found = (
                with_hub_source(settings, repository, folder, report, stop) if folder else settings
            )
            return preprocess(found, report, stop, encoders)

        unload_models()
        summary = run_job(work, progress)
        _indexes.add(summary.index)
        progress.show_text(summary.text)
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


def _require_sizes(written: Mapping[str, object]) -> None:
    """Raises `ConfigurationError` for buckets that no model takes."""
    text = written.get("resolution_buckets")
    for size in named_sizes(text) if isinstance(text, str) else ():
        require_size(size)


def _settings(values: Mapping[str, object], model: ModelConfig | None = None) -> PreprocessSettings:
    """The settings that the widgets hold; the model is that of a connected section."""
    if model is not None:
        values = with_model(values, model)
    located = {_FIELDS.get(name, name): value for name, value in with_files(values).items()}
    located["source"] = str(input_path(str(located["source"])))
    if output := str(located["output_dir"]).strip():
        located["output_dir"] = str(input_path(output))
    return from_widgets(PreprocessSettings, located)
