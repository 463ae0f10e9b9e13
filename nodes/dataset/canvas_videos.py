"""Nodes that write data sets of videos from the canvas, and load their clips onto the canvas.

Lists are ComfyUI's own: a node without list inputs runs once for each entry.
"""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, TypeVar

import torch
from comfy_api.latest import io

from ...ltxv_train_core.config import PreprocessSettings, options
from ...ltxv_train_core.errors import DataError
from ...ltxv_train_core.manifests.captions import split_captions
from ...ltxv_train_core.manifests.clip_files import (
    Footage,
    read_footage,
    silence,
    write_dataset,
)
from ...ltxv_train_core.manifests.manifest import Columns, read_manifest
from ...ltxv_train_core.manifests.references import add_references
from ..comfy.audio import Audio, audio_from_sound, sound_of_video, sounds_from_audio
from ..comfy.folders import input_path
from ..comfy.images import frames_from_image, image_from_frames
from ..comfy.schema import search_aliases
from ..comfy.sockets import CATEGORY, dataset_output
from ..comfy.widget_problems import WidgetProblem
from ..config.widgets import widget
from ..training.progress import NodeProgress
from ..training.run_job import run_job
from .changes import WritesDataset, state_of_source, written
from .source import source_problems

if TYPE_CHECKING:
    from comfy_api.latest._input import VideoInput

Entry = TypeVar("Entry")

_DATASET = "Metadata file (csv, json, jsonl) or folder of videos. A relative path is looked for in "
_DATASET += "ComfyUI's input folder."

_COLUMNS = [
    option
    for option in options(PreprocessSettings)
    if option.name in ("caption_column", "video_column")
]


class LTXVTrainDatasetFromVideos(WritesDataset):
    """Writes VIDEOs and IMAGE batches as a data set."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="LTXVTrainDatasetFromVideos",
            display_name="Write LTXV Dataset From Videos",
            category=CATEGORY,
            description="Saves videos and sounds from the canvas, with captions, as a data set to train on. "
            "The files are lossless; existing ones are not written again.",
            **search_aliases("dataset", "save clips"),
            is_input_list=True,
            inputs=[
                io.Video.Input(
                    "videos",
                    optional=True,
                    tooltip="A video, or a list of videos; each is a clip.",
                ),
                io.Image.Input(
                    "images",
                    optional=True,
                    tooltip="A batch of frames, or a list of batches; each batch is a clip, a "
                    "batch of one is an image.",
                ),
                io.String.Input(
                    "captions",
                    default="",
                    multiline=True,
                    tooltip="One caption for all clips, one line for each clip, or a list of "
                    "texts, videos first. In a list, a line --- separates several captions of a "
                    "clip.",
                ),
                io.Float.Input(
                    "fps",
                    default=25.0,
                    min=1.0,
                    max=240.0,
                    step=0.001,
                    tooltip="Frames per second of the image batches, one number or a list. Videos "
                    "have their own.",
                ),
                io.String.Input(
                    "folder",
                    default="ltxv_train_datasets/clips",
                    tooltip="Folder of the data set, in ComfyUI's input folder.",
                ),
                io.String.Input(
                    "add_to",
                    default="",
                    tooltip="Data set whose clips come before these, for example from another "
                    "node of this kind. Empty: none.",
                ),
                io.Audio.Input(
                    "audio",
                    optional=True,
                    tooltip="A sound for each clip, videos first, in place of the sound that videos have. "
                    "Without videos and images each sound is a clip of its own.",
                ),
            ],
            outputs=[dataset_output("The metadata file, for Preprocess LTXV Dataset.")],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def execute(
        cls,
        captions: list[str],
        fps: list[float],
        folder: list[str],
        add_to: list[str],
        videos: "list[VideoInput] | None" = None,
        images: list[torch.Tensor] | None = None,
        audio: list[Audio] | None = None,
    ) -> io.NodeOutput:
        videos, images = videos or [], images or []
        sounds = [sound for each in audio or [] for sound in sounds_from_audio(each)]
        total = len(videos) + len(images) or len(sounds)
        if not total:
            raise DataError("no clip is connected: connect videos, images or audio")
        own = _for_each(sounds, total, "sounds", "clips") if sounds else [None] * total
        texts = _captions_for(captions, total)
        rates = _for_each(fps, len(images), "fps", "images")
        before = input_path(add_to[0]) if add_to[0].strip() else None

        def clips() -> Iterator[Footage]:
            for video, text, sound in zip(videos, texts, own, strict=False):
                parts = video.get_components()
                frames, rate = frames_from_image(parts.images), float(parts.frame_rate)
                if sound is None and len(frames) > 1:
                    sound = sound_of_video(video, getattr(parts, "audio", None), len(frames) / rate)
                yield Footage("", frames, rate, text, sound)
            others = zip(texts[len(videos) :], own[len(videos) :], strict=True)
            if not videos and not images:
                yield from (Footage("", None, 1.0, text, sound) for text, sound in others)
                return
            for image, rate, (text, sound) in zip(images, rates, others, strict=True):
                yield Footage("", frames_from_image(image), float(rate), text, sound)

        metadata = run_job(
            lambda report, stop: write_dataset(
                input_path(folder[0]), clips(), total, before, report, stop
            ),
            NodeProgress(cls.hidden.unique_id),
        )
        written.add(metadata)
        return io.NodeOutput(str(metadata))


class LTXVTrainDatasetVideos(io.ComfyNode):
    """Loads the clips of a data set as a list of IMAGE batches."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="LTXVTrainDatasetVideos",
            display_name="Load LTXV Dataset Videos",
            category=CATEGORY,
            description="Loads all clips of a data set, so that any graph can run on each of "
            "them: edges, depth, poses, other voices. Write LTXV Dataset With References writes "
            "the results as references of the same clips.",
            **search_aliases("dataset", "load clips"),
            inputs=[
                io.String.Input("dataset_path", default="", tooltip=_DATASET),
                io.Int.Input(
                    "max_frames",
                    default=0,
                    min=0,
                    max=100000,
                    step=1,
                    tooltip="Frames to load from the beginning of each clip; 0: all. All clips are "
                    "in memory at once: load no more than your buckets need.",
                ),
                *map(widget, _COLUMNS),
            ],
            outputs=[
                io.Image.Output(
                    display_name="images",
                    is_output_list=True,
                    tooltip="One batch of frames for each clip, at its own size; of a sound alone a picture of it.",
                ),
                io.String.Output(
                    display_name="names",
                    is_output_list=True,
                    tooltip="Which clip each batch is, for Write LTXV Dataset With References.",
                ),
                io.String.Output(
                    display_name="captions",
                    is_output_list=True,
                    tooltip="The caption of each clip; several are separated by a line ---.",
                ),
                io.Float.Output(
                    display_name="fps",
                    is_output_list=True,
                    tooltip="Frames per second of each clip.",
                ),
                dataset_output("The data set again, for Write LTXV Dataset With References."),
                io.Audio.Output(
                    display_name="audio",
                    is_output_list=True,
                    tooltip="The sound of each clip, as long as its frames, at its own rate; silence where it "
                    "has none.",
                ),
            ],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def fingerprint_inputs(
        cls,
        dataset_path: str | None,
        caption_column: str | None,
        video_column: str | None,
        **others: object,
    ) -> str:
        """Changed files are seen where the path is written on the node itself."""
        if dataset_path is None or caption_column is None or video_column is None:
            return "linked"
        return state_of_source(dataset_path, _columns(caption_column, video_column))

    @classmethod
    def widget_problems(cls, written: Mapping[str, object]) -> list[WidgetProblem]:
        """A data set that can't be read."""
        return source_problems(written)

    @classmethod
    def execute(
        cls, dataset_path: str, max_frames: int, caption_column: str, video_column: str
    ) -> io.NodeOutput:
        source = input_path(dataset_path)
        manifest = read_manifest(source, _columns(caption_column, video_column))
        footage = run_job(
            lambda report, stop: read_footage(manifest, max_frames, report, stop),
            NodeProgress(cls.hidden.unique_id),
        )
        return io.NodeOutput(
            [image_from_frames(clip.shown) for clip in footage],
            [clip.name for clip in footage],
            ["\n---\n".join(clip.captions) for clip in footage],
            [clip.fps for clip in footage],
            str(source),
            [audio_from_sound(clip.sound or silence(clip.seconds)) for clip in footage],
        )


class LTXVTrainDatasetWithReferences(WritesDataset):
    """Writes IMAGE batches as the references of a data set's clips."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="LTXVTrainDatasetWithReferences",
            display_name="Write LTXV Dataset With References",
            category=CATEGORY,
            description="Pairs every clip with its processed version, so that an IC-LoRA can "
            "learn to turn one into the other. The data set itself is not changed: "
            "metadata with a reference column is written beside it.",
            **search_aliases("dataset", "control", "ic-lora"),
            is_input_list=True,
            is_output_node=True,
            inputs=[
                io.Image.Input(
                    "references",
                    optional=True,
                    tooltip="The processed batches, one for each clip, in the order of the names.",
                ),
                io.String.Input(
                    "dataset_path",
                    default="",
                    tooltip="The data set: dataset_path of Load LTXV Dataset Videos.",
                ),
                io.String.Input(
                    "names",
                    default="",
                    tooltip="Which clip each batch belongs to: names of Load LTXV Dataset Videos.",
                ),
                io.String.Input(
                    "kind",
                    default="canny",
                    tooltip="Name of this kind of reference. It is part of the file names, so that "
                    "a data set can have several kinds.",
                ),
                *map(widget, _COLUMNS),
                io.Audio.Input(
                    "reference_audio",
                    optional=True,
                    tooltip="For a model with sound: the sounds that the clips' sounds follow, one for each clip, in "
                    "the order of the names.",
                ),
            ],
            outputs=[
                dataset_output("Metadata with clips and references, for Preprocess LTXV Dataset.")
            ],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def execute(
        cls,
        dataset_path: list[str],
        names: list[str],
        kind: list[str],
        caption_column: list[str],
        video_column: list[str],
        references: list[torch.Tensor] | None = None,
        reference_audio: list[Audio] | None = None,
    ) -> io.NodeOutput:
        sounds = [sound for each in reference_audio or [] for sound in sounds_from_audio(each)]
        if not references and not sounds:
            raise DataError(
                "no reference is connected: connect references, reference_audio or both"
            )
        metadata = run_job(
            lambda report, stop: add_references(
                input_path(dataset_path[0]),
                names,
                map(frames_from_image, references) if references else None,
                kind[0].strip(),
                _columns(caption_column[0], video_column[0]),
                report,
                stop,
                sounds or None,
            ),
            NodeProgress(cls.hidden.unique_id),
        )
        written.add(metadata)
        text = f"{len(names)} references: {metadata}"
        return io.NodeOutput(str(metadata), ui={"text": [text]})


def _columns(caption: str, video: str) -> Columns:
    return Columns(caption.strip(), video.strip(), reference="")


def _captions_for(texts: list[str], clips: int) -> list[tuple[str, ...]]:
    """The captions of each clip, from one text for all, one line for each, or a list of texts."""
    if len(texts) == 1 and clips > 1:
        lines = [line.strip() for line in texts[0].splitlines() if line.strip()]
        if len(lines) == clips and "---" not in lines:
            texts = lines
    return [split_captions(text) for text in _for_each(texts, clips, "captions", "clips")]


def _for_each(values: list[Entry], count: int, what: str, of: str) -> list[Entry]:
    if len(values) == 1:
        return values * count
    if len(values) != count:
        raise DataError(f"{len(values)} {what} for {count} {of}: give one for all, or one for each")
    return values
