"""Outputs of the nodes of a run: name of its LoRA, loss chart, contact sheet, folder."""

import logging
import math
from typing import Any

from comfy_api.latest import io
from comfy_execution.graph import ExecutionBlocker
from PIL import Image

from ...ltxv_train_core.runs import RunFolder, RunState
from ...ltxv_train_core.runs.loss_chart import loss_chart
from ..comfy.images import image_from_pil
from ..comfy.sockets import TRAINING_RUN
from ..server.jobs import publish_loras
from .result_files import ResultFiles

LORA_NAME = io.AnyType.Output(
    display_name="lora_name",
    tooltip="Name of the trained LoRA in ComfyUI's LoRA folder. Fits the lora_name input of Load "
    "Trained LTXV LoRA and of the stock LoRA loaders.",
)
MODEL_NAME = io.AnyType.Output(
    display_name="model_name",
    tooltip="Name of the trained transformer among ComfyUI's diffusion models. Fits the unet_name "
    "input of Load Diffusion Model.",
)

logger = logging.getLogger("ltxv_train")

result_files = ResultFiles()
"""The LoRA files that outputs of training nodes name."""


def run_outputs(name: io.Output = LORA_NAME) -> list[io.Output]:
    """The outputs of a node of a run; `name` is the first of them."""
    return [
        name,
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
        TRAINING_RUN.Output(
            display_name="run",
            tooltip="The run, for continue_from of another training node, or for Wait for LTXV "
            "Run.",
        ),
        io.LossMap.Output(
            display_name="loss_map", tooltip="The loss of every step, for Plot Loss Graph."
        ),
    ]


def results(run: RunFolder, state: RunState, line: str) -> io.NodeOutput:
    """The output values of a run that has a LoRA.

    Args:
        line: shown at the node, after the LoRA's name.
    """
    name = publish_loras(run, state.step)
    result_files.add(run.lora_file(state.step))
    metrics = run.metrics()
    sheet = _latest_sheet(run)
    return io.NodeOutput(
        name,
        image_from_pil(loss_chart(metrics, state.steps)),
        image_from_pil(sheet) if sheet else ExecutionBlocker(None),
        str(run.folder),
        run.name,
        {"loss": [each.loss for each in metrics if math.isfinite(each.loss)]},
        ui={"text": [f"{name}, {line}"]},
    )


def _latest_sheet(run: RunFolder) -> Image.Image | None:
    """The newest contact sheet; None where there is none, or it can't be read as an image."""
    path = run.latest_sheet()
    if path is None:
        return None
    try:
        with Image.open(path) as sheet:
            shown: Image.Image = sheet.convert("RGB")
            return shown
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        logger.warning("%s can't be shown: %s", path, error)
        return None


def results_while_training(run: RunFolder, line: str) -> io.NodeOutput:
    """The output values of a run that still trains: nodes that need its LoRA do not run.

    Args:
        line: shown at the node.
    """
    later: Any = ExecutionBlocker(None)
    return io.NodeOutput(later, later, later, str(run.folder), run.name, later, ui={"text": [line]})
