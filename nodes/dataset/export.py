"""The node that writes a preprocessed data set for another trainer."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from comfy_api.latest import io

from ...ltxv_train_core.config import ModelConfig
from ..comfy.folders import input_path
from ..comfy.model_files import with_listed_files
from ..comfy.prompts import Prompt, written_on
from ..comfy.schema import search_aliases
from ..comfy.sockets import CATEGORY, SECTION_SOCKETS, dataset_output
from ..comfy.widget_problems import WidgetProblem
from ..config.base_model import base_model_problems
from ..config.section_nodes import data_set_problems
from ..training.progress import NodeProgress
from ..training.run_job import run_job, unload_models
from .changes import WritesDataset

if TYPE_CHECKING:
    from ...ltxv_train_core.preprocessing.export_as import Format

_NO_MODEL = (
    "ltx-trainer's files hold features of the text encoder: connect Configure LTXV Model to model"
)


class LTXVTrainDatasetExport(WritesDataset):
    """Writes latents and captions as the files of Lightricks' trainers."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="LTXVTrainDatasetExport",
            display_name="Write LTXV Dataset For Other Trainers",
            category=CATEGORY,
            description="Writes a preprocessed data set as the .precomputed folder that Lightricks' "
            "trainers read: latents, sounds, captions, references and masks. The data set itself is not "
            "changed.",
            **search_aliases("dataset", "export", "ltx-trainer", "precomputed"),
            is_output_node=True,
            inputs=[
                io.String.Input(
                    "preprocessed_data_root",
                    default="",
                    tooltip="The preprocessed data set, from Preprocess LTXV Dataset.",
                ),
                io.String.Input(
                    "folder",
                    default="ltxv_train_datasets/exported/.precomputed",
                    tooltip="Folder to write, for nothing else, in ComfyUI's input folder.",
                ),
                io.Combo.Input(
                    "format",
                    options=["ltx-trainer", "reference"],
                    default="ltx-trainer",
                    tooltip="ltx-trainer: the trainer of LTX-2; needs the model, whose text encoder encodes "
                    "the captions anew. reference: LTX-Video-Trainer.",
                ),
                io.Combo.Input(
                    "dtype",
                    options=["bfloat16", "float32"],
                    default="bfloat16",
                    tooltip="Of the numbers. The trainers themselves write bfloat16.",
                ),
                SECTION_SOCKETS["model"].Input(
                    "model",
                    optional=True,
                    tooltip="The model that the data set was preprocessed with, from Configure LTXV Model; for "
                    "the format ltx-trainer.",
                ),
            ],
            outputs=[dataset_output("The folder, which Preprocess LTXV Dataset reads as well.")],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def widget_problems(cls, written: Mapping[str, object]) -> list[WidgetProblem]:
        """A path that leads to no data set."""
        root = written.get("preprocessed_data_root")
        return data_set_problems(root) if isinstance(root, str) else []

    @classmethod
    def graph_problems(cls, prompt: Prompt, node_id: str) -> list[tuple[str, WidgetProblem]]:
        """No model where the format needs one, or one that is nowhere."""
        if written_on(prompt, node_id).get("format") != "ltx-trainer":
            return []
        if "model" not in prompt[node_id][1]:
            return [(node_id, WidgetProblem("format", _NO_MODEL))]
        return base_model_problems(prompt, node_id)

    @classmethod
    def execute(
        cls,
        preprocessed_data_root: str,
        folder: str,
        format: "Format",
        dtype: str,
        model: ModelConfig | None = None,
    ) -> io.NodeOutput:
        from ...ltxv_train_core.preprocessing.export_as import export_as

        named = model and with_listed_files(model)
        data, output = input_path(preprocessed_data_root), input_path(folder)
        unload_models()
        run_job(
            lambda report, stop: export_as(format, data, output, dtype, named, report, stop),
            NodeProgress(cls.hidden.unique_id),
        )
        counts = {
            place.name: sum(1 for _ in place.rglob("*.pt"))
            for place in sorted(output.iterdir())
            if place.is_dir()
        }
        lines = [f"{name}: {count} files" for name, count in counts.items()]
        return io.NodeOutput(str(output), ui={"text": ["\n".join([*lines, str(output)])]})
