"""Nodes that make a data set of raw videos: splitting into scenes, captioning, and writing down what is said."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from comfy_api.latest import io

from ...ltxv_train_core.config import (
    CaptionSettings,
    Section,
    SplitSettings,
    TranscribeSettings,
    from_widgets,
    options,
)
from ...ltxv_train_core.errors import LTXVTrainError
from ..comfy.folders import input_path
from ..comfy.schema import search_aliases
from ..comfy.sockets import CATEGORY, dataset_output
from ..comfy.widget_problems import WidgetProblem
from ..config.widgets import option_problems, path_problems, widget
from ..training.progress import NodeProgress
from ..training.run_job import run_job, unload_models
from .changes import state_of_files
from .source import source_problems


class LTXVTrainSplitScenes(io.ComfyNode):
    """Splits long videos into scenes."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="LTXVTrainSplitScenes",
            display_name="Split LTXV Videos Into Scenes",
            category=CATEGORY,
            description="Cuts long videos into short scenes, to caption and train on. Cuts are "
            "exact to the frame; scenes that are too short are skipped. Needs "
            "PySceneDetect.",
            **search_aliases("scene detection", "cut", "clip", "dataset"),
            is_output_node=True,
            inputs=_inputs(SplitSettings, "videos_path"),
            outputs=[dataset_output("The metadata file of the scenes, for Caption LTXV Dataset.")],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def fingerprint_inputs(cls, **values: object) -> str:
        """New videos are seen where the path is written on the node itself, and so are captions
        that were written into the metadata."""
        return _state(SplitSettings, values, "videos_path")

    @classmethod
    def widget_problems(cls, written: Mapping[str, object]) -> list[WidgetProblem]:
        """What is wrong with the options, and videos that are nowhere."""
        return option_problems(SplitSettings, written, names={"source": "videos_path"}) or (
            path_problems("videos_path", written.get("videos_path"))
        )

    @classmethod
    def execute(cls, videos_path: str, **values: object) -> io.NodeOutput:
        from ...ltxv_train_core.manifests.scene_splitting import split_videos

        settings = from_widgets(SplitSettings, _located(values, videos_path))
        progress = NodeProgress(cls.hidden.unique_id)
        summary = run_job(lambda report, stop: split_videos(settings, report, stop), progress)
        lines = [
            f"{summary.written} written, {summary.reused} reused, {summary.too_short} too short"
        ]
        return _shown(progress, summary.metadata, lines, summary.skipped)


class LTXVTrainDatasetCaption(io.ComfyNode):
    """Captions clips with a vision-language model."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="LTXVTrainDatasetCaption",
            display_name="Caption LTXV Dataset",
            category=CATEGORY,
            description="Describes every clip in words, so that the model learns which words go "
            "with which pictures. A local vision-language model (Qwen2.5-VL) "
            "captions the clips that have no caption; existing captions stay, and "
            "you can edit all of them in the metadata file.",
            **search_aliases("caption", "auto caption", "describe", "tag", "dataset"),
            is_output_node=True,
            inputs=_inputs(CaptionSettings, "dataset_path"),
            outputs=[
                dataset_output("The metadata file with captions, for Preprocess LTXV Dataset.")
            ],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def fingerprint_inputs(cls, **values: object) -> str:
        """New clips are seen where the path is written on the node itself, and so are captions
        that were edited in the metadata."""
        return _state(CaptionSettings, values, "dataset_path")

    @classmethod
    def widget_problems(cls, written: Mapping[str, object]) -> list[WidgetProblem]:
        """What is wrong with the options, and a data set that can't be read."""
        return option_problems(CaptionSettings, written, names={"source": "dataset_path"}) or (
            source_problems(written, require_captions=False)
        )

    @classmethod
    def execute(cls, dataset_path: str, **values: object) -> io.NodeOutput:
        from ...ltxv_train_core.manifests.captioning import write_captions

        settings = from_widgets(CaptionSettings, _located(values, dataset_path))
        progress = NodeProgress(cls.hidden.unique_id)
        unload_models()
        summary = run_job(lambda report, stop: write_captions(settings, report, stop), progress)
        lines = [f"{summary.written} written, {summary.reused} reused"]
        return _shown(progress, summary.metadata, lines, summary.skipped)


class LTXVTrainDatasetTranscribe(io.ComfyNode):
    """Writes down what is said in the clips of a data set."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="LTXVTrainDatasetTranscribe",
            display_name="Transcribe LTXV Dataset",
            category=CATEGORY,
            description="Writes down what is said in every clip, so that a model with sound learns which voice "
            "says which words. Whisper (faster-whisper, installed apart) fills the column speech; texts "
            "that are there stay, and you can edit all of them in the metadata file.",
            **search_aliases("speech", "whisper", "voice", "transcription", "dataset"),
            is_output_node=True,
            inputs=_inputs(TranscribeSettings, "dataset_path"),
            outputs=[dataset_output("The metadata file with texts, for Preprocess LTXV Dataset.")],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def fingerprint_inputs(cls, **values: object) -> str:
        """New clips are seen where the path is written on the node itself, and so are texts that were edited in the
        metadata."""
        return _state(TranscribeSettings, values, "dataset_path")

    @classmethod
    def widget_problems(cls, written: Mapping[str, object]) -> list[WidgetProblem]:
        """What is wrong with the options, and a data set that can't be read."""
        return option_problems(TranscribeSettings, written, names={"source": "dataset_path"}) or (
            source_problems(written, require_captions=False)
        )

    @classmethod
    def execute(cls, dataset_path: str, **values: object) -> io.NodeOutput:
        from ...ltxv_train_core.manifests.transcribing import transcribe

        settings = from_widgets(TranscribeSettings, _located(values, dataset_path))
        progress = NodeProgress(cls.hidden.unique_id)
        unload_models()
        summary = run_job(lambda report, stop: transcribe(settings, report, stop), progress)
        return _shown(progress, summary.metadata, [summary.text], summary.skipped)


def _inputs(section: type[Section], source: str) -> list[io.Input]:
    """A widget for each option; the source is called as other nodes call it."""
    first, *others = options(section)
    return [widget(replace(first, name=source, default="")), *map(widget, others)]


def _state(
    section: type[CaptionSettings] | type[SplitSettings] | type[TranscribeSettings],
    values: dict[str, object],
    source: str,
) -> str:
    """The state of what the node reads and of the metadata that it has written."""
    if None in values.values():
        return "linked"
    others = {name: value for name, value in values.items() if name != source}
    try:
        settings = from_widgets(section, _located(others, str(values[source])))
    except LTXVTrainError as error:
        return str(error)
    return state_of_files(settings.source, settings.metadata)


def _located(values: dict[str, object], source: str) -> dict[str, object]:
    """Paths as written on the canvas are absolute from here on."""
    output = str(values["output"]).strip()
    return values | {
        "source": str(input_path(source)),
        "output": str(input_path(output)) if output else "",
    }


def _shown(
    progress: NodeProgress, metadata: Path, lines: list[str], skipped: tuple[tuple[str, str], ...]
) -> io.NodeOutput:
    lines = [*lines, *(f"skipped {name}: {reason}" for name, reason in skipped), str(metadata)]
    text = "\n".join(lines)
    progress.show_text(text)
    return io.NodeOutput(str(metadata), ui={"text": [text]})
