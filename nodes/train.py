"""The nodes that train.

The trainer is imported when it is first needed, so that ComfyUI starts quickly.
"""

from pathlib import Path
from typing import Any, ClassVar

from comfy_api.latest import io
from comfy_execution.graph import ExecutionBlocker
from PIL import Image

from ..ltxv_train_core.charts import loss_chart
from ..ltxv_train_core.config import ConditioningConfig, TrainingConfig, build
from ..ltxv_train_core.errors import ConfigurationError
from ..ltxv_train_core.run_folder import RunFolder
from .folders import graph_to_share, publish_lora
from .images import image_from_pil
from .progress import NodeProgress
from .run_job import make_room, run_job
from .sockets import CATEGORY, TRAINING_CONFIG


class TrainNode(io.ComfyNode):
    """What both training nodes do; they differ in what the model is conditioned on."""

    node_id: ClassVar[str]
    display_name: ClassVar[str]
    description: ClassVar[str]

    @classmethod
    def prepare(cls, values: dict[str, Any]) -> dict[str, Any]:
        """The configuration's values as this node trains them."""
        raise NotImplementedError

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id=cls.node_id,
            display_name=cls.display_name,
            category=CATEGORY,
            description=cls.description,
            is_output_node=True,
            inputs=[
                TRAINING_CONFIG.Input(
                    "config", tooltip="What to train, from Join LTXV Training Configuration."
                )
            ],
            outputs=[
                io.AnyType.Output(
                    display_name="lora_name",
                    tooltip="Name of the trained LoRA in ComfyUI's LoRA folder. Fits the "
                    "lora_name input of Load LTXV LoRA and of the stock LoRA loaders.",
                ),
                io.Image.Output(display_name="loss_curve", tooltip="The loss over all steps."),
                io.Image.Output(
                    display_name="samples",
                    tooltip="Contact sheet of the latest validation samples. Without validation "
                    "prompts, nodes behind this output do not run.",
                ),
                io.String.Output(
                    display_name="run_folder",
                    tooltip="Folder of the run: configuration, metrics, samples, checkpoints and "
                    "the LoRA of every checkpoint.",
                ),
            ],
            hidden=[io.Hidden.unique_id, io.Hidden.prompt, io.Hidden.extra_pnginfo],
        )

    @classmethod
    def execute(cls, config: dict[str, Any]) -> io.NodeOutput:
        settings = build(TrainingConfig, cls.prepare(config))
        from ..ltxv_train_core import trainer

        graph = graph_to_share(cls.hidden.extra_pnginfo, cls.hidden.prompt)
        progress = NodeProgress(cls.hidden.unique_id)
        make_room()
        try:
            result = run_job(
                lambda report, stop: trainer.train(settings, report, stop, graph), progress
            )
        except BaseException:
            if progress.checkpoint is not None:
                publish_lora(progress.checkpoint.lora_file)
            raise
        name = publish_lora(result.lora_file)
        if result.ema_file is not None:
            publish_lora(result.ema_file)
        run = RunFolder(result.run_folder)
        curve = loss_chart([metrics.loss for metrics in run.metrics()], result.steps)
        sheet = _latest_sheet(run)
        progress.say(f"{name}, {result.step} steps")
        return io.NodeOutput(
            name,
            image_from_pil(curve),
            image_from_pil(Image.open(sheet)) if sheet else ExecutionBlocker(None),
            str(result.run_folder),
            ui={"text": [f"{name}, {result.step} steps"]},
        )


class LTXVTrainLoRA(TrainNode):
    node_id = "LTXVTrainLoRA"
    display_name = "Train LTXV LoRA"
    description = (
        "Trains a LoRA for LTX-Video. ComfyUI's models leave the memory first. Cancel stops within "
        "a step and keeps the checkpoint; the same configuration queued again goes on from there, "
        "or finds the finished LoRA."
    )

    @classmethod
    def prepare(cls, values: dict[str, Any]) -> dict[str, Any]:
        conditioning = values.get("conditioning", ConditioningConfig())
        if conditioning.mode == "reference_video":
            raise ConfigurationError(
                [
                    "conditioning.mode is 'reference_video', which makes an IC-LoRA: use the node "
                    "Train LTXV IC-LoRA (LTXVTrainICLoRA), or set the mode to 'none'"
                ]
            )
        return values


class LTXVTrainICLoRA(TrainNode):
    node_id = "LTXVTrainICLoRA"
    display_name = "Train LTXV IC-LoRA"
    description = (
        "Trains an IC-LoRA for LTX-Video: one that follows a reference video. The data set needs "
        "reference videos; conditioning.mode is set to reference_video. Cancel stops within a step "
        "and keeps the checkpoint; the same configuration queued again goes on from there, or "
        "finds the finished LoRA."
    )

    @classmethod
    def prepare(cls, values: dict[str, Any]) -> dict[str, Any]:
        conditioning = values.get("conditioning", ConditioningConfig())
        return {
            **values,
            "conditioning": conditioning.model_copy(update={"mode": "reference_video"}),
        }


def _latest_sheet(run: RunFolder) -> Path | None:
    return max((run.folder / "samples").glob("*/sheet.png"), default=None)
