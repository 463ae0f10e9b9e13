"""Nodes that need no download: a demo data set and the miniature model.

The model's code is imported when it is first needed, so that ComfyUI starts quickly.
"""

import os
from collections.abc import Mapping
from pathlib import Path

import folder_paths
import torch
from comfy_api.latest import io

from ...ltxv_train_core.families.ltx2.miniature import datasets as heard
from ...ltxv_train_core.families.ltx2.miniature.scenes import FPS as HEARD_FPS
from ...ltxv_train_core.families.ltx2.miniature.tasks import WITH_SOUND
from ...ltxv_train_core.families.ltxv.miniature.clips import FPS, render
from ...ltxv_train_core.families.ltxv.miniature.datasets import EVALUATION_PROMPTS, generate
from ...ltxv_train_core.families.ltxv.miniature.tasks import DATASETS
from ...ltxv_train_core.families.registry import EARLIEST, FAMILIES, family_named
from ...ltxv_train_core.media.write import write_video
from ..comfy.core_clip import conditioning
from ..comfy.folders import LORA_SUBFOLDER, input_path
from ..comfy.images import image_from_frames
from ..comfy.newer_comfyui import TESTED, too_old_for
from ..comfy.schema import advanced, search_aliases
from ..comfy.sockets import CATEGORY, dataset_output
from ..comfy.widget_problems import WidgetProblem
from ..training.progress import NodeProgress
from ..training.result_files import ResultFiles
from ..training.run_job import run_job
from .changes import WritesDataset, written

_checkpoints = ResultFiles()


class LTXVTrainDemoDataset(WritesDataset):
    """Generates a demo data set, and a prompt and reference to test with."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="LTXVTrainDemoDataset",
            display_name="Generate LTXV Demo Dataset",
            category=CATEGORY,
            description="Makes a small data set of moving shapes with captions, to try training "
            "without videos of your own.",
            **search_aliases("dataset", "example", "toy"),
            inputs=[
                io.Combo.Input(
                    "task",
                    options=[*DATASETS, *WITH_SOUND],
                    default="stripes",
                    tooltip="What a LoRA learns from it. stripes: backgrounds with stripes. mirror: "
                    "pairs for an IC-LoRA, a white silhouette and the coloured shape, mirrored. "
                    "up: everything moves upwards. plain: nothing that the base model doesn't know. "
                    "stripes_and_beep: for LTX-2, clips with sound: stripes are seen, a beep is heard. "
                    "mirror_with_sound: for an IC-LoRA of LTX-2 with reference video and sound.",
                ),
                io.Int.Input(
                    "clips",
                    default=0,
                    min=0,
                    max=1000,
                    step=1,
                    tooltip="Number of clips; 0: as many as the task needs (24, and 48 for mirror).",
                ),
                io.Int.Input(
                    "seed",
                    default=0,
                    min=0,
                    max=2**31 - 1,
                    control_after_generate=False,
                    tooltip="The same seed generates the same clips.",
                ),
                advanced(
                    io.String.Input(
                        "folder",
                        default="ltxv_train_demo",
                        tooltip="Folder to write to, in ComfyUI's input folder. Each task, number and "
                        "seed gets its own folder in it.",
                    )
                ),
                io.Int.Input(
                    "prompt_number",
                    default=0,
                    min=0,
                    max=EVALUATION_PROMPTS - 1,
                    tooltip="Number of the prompt to output, of those that are not in the data set.",
                ),
            ],
            outputs=[
                dataset_output("The metadata file, for Preprocess LTXV Dataset."),
                io.String.Output(
                    display_name="prompt",
                    tooltip="A prompt that is not in the data set, to test the trained LoRA.",
                ),
                io.Image.Output(
                    display_name="reference",
                    tooltip="Frames for the prompt: the reference video for an IC-LoRA (mirror), for "
                    "the other tasks the clip as the base model shows it.",
                ),
                io.String.Output(
                    display_name="reference_path",
                    tooltip="The same frames as a video file, for the reference_videos of "
                    "Configure LTXV Validation.",
                ),
            ],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def execute(
        cls, task: str, clips: int, seed: int, folder: str, prompt_number: int
    ) -> io.NodeOutput:
        target = input_path(folder) / f"{task}-{clips or 'default'}-{seed}"
        make, fps = (heard.generate, HEARD_FPS) if task in WITH_SOUND else (generate, FPS)
        dataset = run_job(
            lambda report, stop: make(
                task, target, clips=clips or None, seed=seed, report=report, stop=stop
            ),
            NodeProgress(cls.hidden.unique_id),
        )
        item = dataset.evaluation[prompt_number]
        if isinstance(item, heard.EvalItem):
            shown = item.reference
            frames = render(item.scene.clip).frames if shown is None else shown
        else:
            frames = item.reference if item.reference is not None else render(item.spec).frames
        reference = target / "evaluation" / f"{prompt_number:03d}.mp4"
        write_video(reference, frames, fps)
        written.add(dataset.metadata)
        return io.NodeOutput(
            str(dataset.metadata), item.prompt, image_from_frames(frames), str(reference)
        )


class LTXVTrainMiniatureCheckpoint(io.ComfyNode):
    """Writes the miniature as a checkpoint for ComfyUI."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="LTXVTrainMiniatureCheckpoint",
            display_name="Write LTXV Miniature Checkpoint",
            category=CATEGORY,
            description="Puts a tiny video model into ComfyUI's checkpoint folder, to try "
            "everything in seconds without a download. Load it with the stock "
            "checkpoint loader, and encode its prompts with Encode LTXV Miniature "
            "Prompt.",
            **search_aliases("checkpoint", "toy", "demo"),
            inputs=[_model_input()],
            outputs=[
                io.AnyType.Output(
                    display_name="ckpt_name",
                    tooltip="Name of the checkpoint; fits ckpt_name of the stock checkpoint "
                    "loader.",
                )
            ],
        )

    @classmethod
    def widget_problems(cls, written: Mapping[str, object]) -> list[WidgetProblem]:
        """A model that this ComfyUI doesn't know."""
        problem = too_old_for(str(written.get("model", EARLIEST.name)))
        return [WidgetProblem("model", problem)] if problem else []

    @classmethod
    def fingerprint_inputs(cls, model: str = EARLIEST.name) -> str:
        """A file that was deleted is written again."""
        return f"{_checkpoint_path(model).name} {_checkpoints.count_deleted()}"

    @classmethod
    def execute(cls, model: str = EARLIEST.name) -> io.NodeOutput:
        path = _checkpoint_path(model)
        if not path.exists():
            _export(model, path)
        _checkpoints.add(path)
        return io.NodeOutput(os.path.join(LORA_SUBFOLDER, path.name))  # noqa: PTH118


class LTXVTrainMiniaturePrompt(io.ComfyNode):
    """Encodes a prompt with the miniature's text encoder."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="LTXVTrainMiniaturePrompt",
            display_name="Encode LTXV Miniature Prompt",
            category=CATEGORY,
            description="Tells the miniature model in words what to show. Its text encoder is "
            "too small for the stock CLIP loader.",
            **search_aliases("toy", "demo", "text encode"),
            inputs=[
                io.String.Input(
                    "text",
                    default="a red circle moves right on a teal background",
                    multiline=True,
                    tooltip="The prompt. The miniature knows colours, shapes, backgrounds and four "
                    "directions; an empty prompt is the negative it was trained with. That of LTX-2 "
                    "also knows sounds: a loud or soft, low, middle or high hum or buzz.",
                ),
                _model_input(),
            ],
            outputs=[
                io.Conditioning.Output(
                    display_name="conditioning",
                    tooltip="The encoded prompt with its attention mask.",
                )
            ],
        )

    @classmethod
    def execute(cls, text: str, model: str = EARLIEST.name) -> io.NodeOutput:
        from ...ltxv_train_core.families.open import open_model

        encoder = open_model(family_named(model).miniature).load_text_encoder()
        (embedding,) = encoder.encode([text])
        return io.NodeOutput(conditioning(embedding))


def _model_input() -> io.Input:
    """Which miniature; workflows of before have none and mean the first one."""
    return io.Combo.Input(
        "model",
        options=[family.name for family in FAMILIES],
        default=EARLIEST.name,
        optional=True,
        tooltip="LTX-Video makes silent videos. LTX-2 makes videos with sound and needs a newer ComfyUI: "
        f"{TESTED} is tested.",
    )


def _export(model: str, path: Path) -> None:
    if model == EARLIEST.name:
        from ...ltxv_train_core.families.ltxv.miniature.comfy_file import export

        export(path)
        return
    from ...ltxv_train_core.families.ltx2.miniature.comfy_file import export as export_with_sound
    from ...ltxv_train_core.families.open import open_model

    opened = open_model(family_named(model).miniature)
    transformer = opened.load_transformer(torch.float32)
    export_with_sound(path, opened.transformer.denoiser(transformer))


def _checkpoint_path(model: str) -> Path:
    """Named after the weights, so that an update of the pack writes a new file."""
    from ...ltxv_train_core.families.ltx2.miniature import shipped as second
    from ...ltxv_train_core.families.ltxv.miniature import shipped as first

    folder = Path(folder_paths.get_folder_paths("checkpoints")[0], LORA_SUBFOLDER)
    name, shipped = ("ltxv", first) if model == EARLIEST.name else ("ltx2", second)
    return folder / f"{name}_miniature-{shipped.identity()[:8]}.safetensors"
