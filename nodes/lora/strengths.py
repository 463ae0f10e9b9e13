"""The node that samples a LoRA at several strengths, with or without a second LoRA.

The core's code is imported when it is first needed, so that ComfyUI starts quickly.
"""

import re
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import folder_paths
from comfy_api.latest import io
from PIL import Image

from ...ltxv_train_core.config import TrainingConfig, build
from ...ltxv_train_core.errors import ConfigurationError, shown
from ...ltxv_train_core.storage.atomic import sha256_json
from ..comfy.device import use_comfyui_device
from ..comfy.folders import LORA_SUBFOLDER, graph_to_share, runs_folder
from ..comfy.images import image_from_pil
from ..comfy.schema import search_aliases
from ..comfy.sockets import CATEGORY, TRAINING_CONFIG
from ..comfy.widget_problems import WidgetProblem, problems_at
from ..training.progress import NodeProgress
from ..training.run_job import run_job, unload_models

FOLDER = "strengths"
NO_LORA = "none"
MOST_STRENGTHS = 32


class LTXVTrainStrengths(io.ComfyNode):
    """Outputs a sheet of samples, a row for each prompt and strength."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        files = folder_paths.get_filename_list("loras")
        return io.Schema(
            node_id="LTXVTrainStrengths",
            display_name="Compare LTXV LoRA Strengths",
            category=CATEGORY,
            description="Samples the same prompts with a LoRA at several strengths, always with the same noise, and puts "
            "them on one sheet. A second LoRA at one strength shows whether the two go together.",
            **search_aliases("strength", "sweep", "samples", "compare", "two loras", "grid"),
            is_output_node=True,
            inputs=[
                TRAINING_CONFIG.Input(
                    "config",
                    tooltip="The model and the samples (Configure LTXV Validation), from Join LTXV Training "
                    "Configuration.",
                ),
                io.Combo.Input(
                    "lora_name",
                    options=files,
                    tooltip="The LoRA file. Connect lora_name of a training node.",
                ),
                io.String.Input(
                    "strengths",
                    default="0.4, 0.6, 0.8, 1, 1.2",
                    tooltip="Strengths with commas between them; 0 is the base model, 1 is as trained.",
                ),
                io.String.Input(
                    "prompts",
                    default="",
                    multiline=True,
                    tooltip="Prompts to sample, one per line, in place of those of the configuration. Empty: those.",
                ),
                io.Combo.Input(
                    "second_lora",
                    options=[NO_LORA, *files],
                    default=NO_LORA,
                    tooltip="A LoRA that is added to all samples. none: no second one.",
                ),
                io.Float.Input(
                    "second_strength",
                    default=1.0,
                    min=-10.0,
                    max=10.0,
                    step=0.01,
                    tooltip="How strongly the second LoRA changes the model, the same in all samples.",
                ),
            ],
            outputs=[
                io.Image.Output(
                    display_name="sheet",
                    tooltip="Frames of all samples: a row for each prompt and strength.",
                ),
                io.String.Output(
                    display_name="folder",
                    tooltip="The folder with the videos, strength-0.4 and so on, and sheet.png.",
                ),
            ],
            hidden=[io.Hidden.unique_id, io.Hidden.prompt, io.Hidden.extra_pnginfo],
        )

    @classmethod
    def widget_problems(cls, written: Mapping[str, object]) -> list[WidgetProblem]:
        """Strengths that are no numbers."""
        text = written.get("strengths")
        if not isinstance(text, str):
            return []
        return problems_at("strengths", partial(read_strengths, text))

    @classmethod
    def execute(
        cls,
        config: dict[str, Any],
        lora_name: str,
        strengths: str,
        prompts: str,
        second_lora: str,
        second_strength: float,
    ) -> io.NodeOutput:
        from ...ltxv_train_core.training.strength_samples import (
            AddedLoRA,
            sample_strengths,
            with_prompts,
        )

        use_comfyui_device()
        settings = build(TrainingConfig, config)
        lines = tuple(line.strip() for line in prompts.splitlines() if line.strip())
        settings = with_prompts(settings, lines) if lines else settings
        lora = Path(folder_paths.get_full_path_or_raise("loras", lora_name))
        added = []
        if second_lora != NO_LORA:
            second = Path(folder_paths.get_full_path_or_raise("loras", second_lora))
            added.append(AddedLoRA(second, second_strength))
        chosen = read_strengths(strengths)
        folder = _folder(settings, lora, chosen, added)
        graph = graph_to_share(cls.hidden.extra_pnginfo, cls.hidden.prompt)
        unload_models()
        sheet = run_job(
            lambda report, stop: sample_strengths(
                settings, lora, chosen, folder, added, report, stop, graph
            ),
            NodeProgress(cls.hidden.unique_id),
        )
        place = f"{LORA_SUBFOLDER}/{FOLDER}/{folder.name}"
        with Image.open(sheet) as drawn:
            picture = image_from_pil(drawn)
        shown_sheet = {"filename": sheet.name, "subfolder": place, "type": "output"}
        text = f"In ComfyUI's output folder: {place}"
        return io.NodeOutput(picture, str(folder), ui={"images": [shown_sheet], "text": [text]})


def read_strengths(text: str) -> list[float]:
    """Numbers with commas between them. Raises `ConfigurationError` that says what may be written."""
    words = [word for word in re.split(r"[,;\s]+", text) if word]
    try:
        found = [float(word) for word in words]
    except ValueError:
        found = []
    if not 1 <= len(found) <= MOST_STRENGTHS:
        raise ConfigurationError(
            [
                f"strengths {shown(text)}: expected up to {MOST_STRENGTHS} numbers with commas between them, such as 0.4, "
                "0.8, 1.2"
            ]
        )
    return found


def _folder(settings: TrainingConfig, lora: Path, strengths: list[float], added: list[Any]) -> Path:
    """Where the samples go: the same for the same inputs."""
    facts = [settings.model_dump(mode="json"), str(lora), lora.stat().st_mtime_ns, strengths]
    facts += [[str(each.path), each.strength] for each in added]
    return runs_folder() / FOLDER / f"{lora.stem[:80]}-{sha256_json(facts)[:8]}"
