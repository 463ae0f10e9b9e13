"""The node that loads the base model of a training, to generate with it."""

from functools import partial
from typing import Any

from comfy_api.latest import io
from comfy_execution.graph import ExecutionBlocker

from ...ltxv_train_core.config import ModelConfig
from ...ltxv_train_core.errors import ModelError
from ...ltxv_train_core.events import Reporter, StopSignal
from ..comfy.prompts import Prompt
from ..comfy.schema import search_aliases
from ..comfy.sockets import CATEGORY, SECTION_SOCKETS
from ..comfy.widget_problems import WidgetProblem
from ..config.base_model import base_model_problems
from ..training.progress import NodeProgress
from ..training.run_job import run_job


class LTXVTrainLoadModel(io.ComfyNode):
    """Loads the MODEL, CLIP and VAE that a model section names."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="LTXVTrainLoadModel",
            display_name="Load LTXV Base Model",
            category=CATEGORY,
            description="Loads the model that you train on, to generate videos with it: the same "
            "version, file, folder or repository, or the miniature. Choose it once, in Configure LTXV "
            "Model.",
            **search_aliases("base model", "clip", "vae"),
            inputs=[
                SECTION_SOCKETS["model"].Input(
                    "model", tooltip="The model, from Configure LTXV Model."
                )
            ],
            outputs=[
                io.Model.Output(display_name="MODEL", tooltip="The transformer, for a sampler."),
                io.Clip.Output(
                    display_name="CLIP",
                    tooltip="The text encoder, for CLIP Text Encode. Of a model without one, nodes "
                    "behind this output stop with a sentence that says so.",
                ),
                io.Vae.Output(
                    display_name="VAE",
                    tooltip="The VAE, for VAE Decode. Of a model without one, nodes behind this "
                    "output stop with a sentence that says so.",
                ),
            ],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def graph_problems(cls, prompt: Prompt, node_id: str) -> list[tuple[str, WidgetProblem]]:
        """A model that is nowhere."""
        return base_model_problems(prompt, node_id)

    @classmethod
    def execute(cls, model: ModelConfig) -> io.NodeOutput:
        parts = run_job(partial(_load, model), NodeProgress(cls.hidden.unique_id))
        return io.NodeOutput(*parts)


def _load(section: ModelConfig, report: Reporter, stop: StopSignal) -> tuple[Any, Any, Any]:
    """MODEL, CLIP and VAE; what the model lacks blocks the nodes that need it."""
    from ...ltxv_train_core.families.open import open_model
    from ..comfy.model_parts import load_clip, load_model, load_vae

    opened = open_model(section.model_source, report=report, stop=stop, **section.part_sources())
    model = load_model(opened)
    others: list[Any] = []
    for load in (load_clip, load_vae):
        try:
            others.append(load(opened))
        except ModelError as error:
            others.append(ExecutionBlocker(str(error)))
    return (model, *others)
