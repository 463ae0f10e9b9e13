"""The node that measures training steps on ComfyUI's device.

The core's code is imported when it is first needed, so that ComfyUI starts quickly.
"""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from comfy_api.latest import io

from ...ltxv_train_core.benchmark.names import ATTENTION, MODELS, OPTIONS
from ..comfy.device import use_comfyui_device
from ..comfy.folders import LORA_SUBFOLDER, runs_folder
from ..comfy.schema import advanced, search_aliases
from ..comfy.sockets import CATEGORY
from ..comfy.widget_problems import WidgetProblem, problems_at
from .progress import NodeProgress
from .run_job import run_job, unload_models

FOLDER = "benchmarks"
_EMPTY = " Several with semicolons. Empty: what suits the device."


class LTXVTrainBenchmark(io.ComfyNode):
    """Outputs a table of seconds and memory of training steps."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="LTXVTrainBenchmark",
            display_name="Benchmark LTXV Training",
            category=CATEGORY,
            description="Measures how long a training step takes on this machine and how much memory, for "
            "every combination of clip sizes, ranks, options and attention kernels. The weights are random, "
            "with the shapes of the model: nothing is downloaded. The table is fit to be shared.",
            **search_aliases("speed", "memory", "gpu", "vram", "performance", "attention"),
            is_output_node=True,
            inputs=[
                io.Combo.Input(
                    "model",
                    options=list(MODELS),
                    default=MODELS[0],
                    tooltip="The model whose shapes are measured. Other versions of its size take the same.",
                ),
                io.String.Input(
                    "sizes",
                    default="",
                    tooltip="Sizes of the clips, for example 512x512x49; 768x448x89." + _EMPTY,
                ),
                io.String.Input(
                    "ranks", default="", tooltip="Ranks of the LoRA, for example 32; 128." + _EMPTY
                ),
                io.String.Input(
                    "options",
                    default="",
                    tooltip=f"Some of {', '.join(OPTIONS)}; of one row joined by +, for example none; "
                    "checkpointing+int8-quanto." + _EMPTY,
                ),
                advanced(
                    io.String.Input(
                        "attention",
                        default="",
                        tooltip=f"Attention kernels: some of {', '.join(ATTENTION)}. automatic: torch "
                        "chooses." + _EMPTY,
                    )
                ),
                advanced(
                    io.Int.Input(
                        "blocks",
                        default=0,
                        min=0,
                        max=1000,
                        tooltip="How many of the model's blocks are run; time and memory grow with them. 0: what "
                        "suits the device, all of them on a GPU and 2 on a CPU.",
                    )
                ),
                advanced(
                    io.Int.Input(
                        "batch_size", default=1, min=1, max=1024, tooltip="Samples of a step."
                    )
                ),
                advanced(
                    io.Int.Input(
                        "steps",
                        default=3,
                        min=1,
                        max=1000,
                        tooltip="Steps that are measured for each row, after one that isn't.",
                    )
                ),
            ],
            outputs=[
                io.String.Output(display_name="text", tooltip="The table in Markdown."),
                io.String.Output(display_name="json", tooltip="The numbers as JSON."),
            ],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def widget_problems(cls, written: Mapping[str, object]) -> list[WidgetProblem]:
        """Values that can't be measured."""
        from ...ltxv_train_core.benchmark import grid

        model = written.get("model")
        checks: dict[str, Callable[[list[str]], None]] = {
            "ranks": grid.require_ranks,
            "options": grid.require_options,
            "attention": grid.require_attention,
        }
        if model in MODELS:
            checks["sizes"] = lambda sizes: grid.require_sizes(sizes, str(model))
        return [
            problem
            for name, check in checks.items()
            if isinstance(text := written.get(name), str)
            for problem in problems_at(name, partial(check, _parts(text)), [name])
        ]

    @classmethod
    def execute(
        cls,
        model: str,
        sizes: str,
        ranks: str,
        options: str,
        attention: str,
        blocks: int,
        batch_size: int,
        steps: int,
    ) -> io.NodeOutput:
        from ...ltxv_train_core.benchmark.grid import default_grid
        from ...ltxv_train_core.benchmark.run import new_stem, run_benchmark
        from ...ltxv_train_core.models.device import default_device

        use_comfyui_device()
        written = {"sizes": sizes, "ranks": ranks, "options": options, "attention": attention}
        given: dict[str, Any] = {name: _parts(text) for name, text in written.items()}
        given |= {"models": (model,), "blocks": blocks}
        grid = replace(
            default_grid(default_device().type),
            batch_size=batch_size,
            steps=steps,
            **{name: value for name, value in given.items() if value},
        )
        unload_models()
        stem = new_stem(runs_folder() / FOLDER)
        progress = NodeProgress(cls.hidden.unique_id)
        found = run_job(lambda report, stop: run_benchmark(grid, stem, report, stop), progress)
        shown = f"{found.text}\nIn ComfyUI's output folder: {LORA_SUBFOLDER}/{FOLDER}/{stem.name}.md and .json"
        progress.show_text(shown)
        return io.NodeOutput(
            found.text, json.dumps(found.as_json(), indent=2), ui={"text": [shown]}
        )


def _parts(text: str) -> list[str]:
    """What semicolons, commas or lines divide."""
    return [part.strip() for part in re.split(r"[;,\n]", text) if part.strip()]
