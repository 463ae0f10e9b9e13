"""The node that trains runs which differ in a few options, and ranks them.

The core's code is imported when it is first needed, so that ComfyUI starts quickly.
"""

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from comfy_api.latest import io

from ...ltxv_train_core.config import TrainingConfig, build
from ...ltxv_train_core.errors import ConfigurationError, LTXVTrainError
from ...ltxv_train_core.events import Control, Reporter
from ...ltxv_train_core.sweep.search import METHODS, MOST_TRIALS, Method, search_of
from ...ltxv_train_core.sweep.space import read_space
from ..comfy.folders import LORA_SUBFOLDER, graph_to_share
from ..comfy.images import image_from_pil
from ..comfy.prompts import Prompt
from ..comfy.schema import advanced, search_aliases
from ..comfy.sockets import CATEGORY, TRAINING_CONFIG, TRAINING_RUN
from ..comfy.widget_problems import WidgetProblem, problems_at
from ..server.broadcast import NodeLocation
from ..server.jobs import job_manager, publish_loras, run_library, show_at
from .progress import NodeProgress
from .results import LORA_NAME
from .run_job import run_job, unload_models
from .train import ConfigValues, LTXVTrainICLoRA, LTXVTrainLoRA

if TYPE_CHECKING:
    from ...ltxv_train_core.runs import RunFolder

_EXAMPLE = "lora.rank: 8, 32\noptimization.learning_rate: 1e-4, 3e-4"
_POLL_SECONDS = 0.05


class LTXVTrainSweep(io.ComfyNode):
    """Outputs the best LoRA of a sweep, its configuration, and the table of all runs."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="LTXVTrainSweep",
            display_name="Sweep LTXV Training",
            category=CATEGORY,
            description="Trains one run after another that differ in the options you name, and ranks them by the loss of "
            "clips that none of them trains on (held_out_clips in Configure LTXV Data). Bad runs are ended early. Queued "
            "again it goes on with what is missing.",
            **search_aliases(
                "sweep", "grid", "search", "hyperparameter", "optuna", "compare", "tune"
            ),
            is_output_node=True,
            inputs=[
                TRAINING_CONFIG.Input(
                    "config",
                    tooltip="The configuration that the runs share, from Join LTXV Training Configuration.",
                ),
                io.String.Input(
                    "vary",
                    default=_EXAMPLE,
                    multiline=True,
                    tooltip="A line for each option: its values divided by commas, such as lora.rank: 8, 32, or for "
                    "random and tpe a range, such as optimization.learning_rate: 1e-4 to 1e-3.",
                ),
                io.Combo.Input(
                    "method",
                    options=list(METHODS),
                    default=METHODS[0],
                    tooltip="grid: every combination. random: drawn; better than a grid for more than two "
                    "options. tpe: drawn where earlier runs were good; needs the package optuna.",
                ),
                io.Int.Input(
                    "trials",
                    default=0,
                    min=0,
                    max=MOST_TRIALS,
                    tooltip="How many runs. 0: all of a grid; random and tpe need a number.",
                ),
                advanced(
                    io.Int.Input(
                        "seed",
                        control_after_generate=False,
                        default=0,
                        min=0,
                        max=2**32 - 1,
                        tooltip="Of what random and tpe draw.",
                    )
                ),
                advanced(
                    io.Boolean.Input(
                        "end_early",
                        default=True,
                        tooltip="End a run as soon as its best held-out loss is above the median of what three or more others "
                        "had at the same step.",
                    )
                ),
            ],
            outputs=[
                LORA_NAME,
                TRAINING_CONFIG.Output(
                    display_name="config",
                    tooltip="The configuration of the best run, for a training node: raise steps there to train it on.",
                ),
                io.String.Output(display_name="text", tooltip="The table of all runs in Markdown."),
                io.Image.Output(
                    display_name="chart",
                    tooltip="The held-out losses of all runs; the best one is bright.",
                ),
                TRAINING_RUN.Output(display_name="run", tooltip="The best run, for continue_from."),
            ],
            hidden=[io.Hidden.unique_id, io.Hidden.prompt, io.Hidden.extra_pnginfo],
        )

    @classmethod
    def widget_problems(cls, written: Mapping[str, object]) -> list[WidgetProblem]:
        """What can't be varied or searched."""
        vary, method, trials = (written.get(name) for name in ("vary", "method", "trials"))
        if not isinstance(vary, str):
            return []
        found = problems_at("vary", partial(read_space, vary), ["vary"])
        if found or method not in METHODS or not isinstance(trials, int):
            return found

        def search() -> None:
            search_of(method, read_space(vary), trials, 0)

        return problems_at("vary", search, ["vary", "method", "trials"])

    @classmethod
    def graph_problems(cls, prompt: Prompt, node_id: str) -> list[tuple[str, WidgetProblem]]:
        """What would stop the training after everything before it has run."""
        found = LTXVTrainLoRA.graph_problems(prompt, node_id)
        return LTXVTrainICLoRA.graph_problems(prompt, node_id) if found else found

    @classmethod
    def execute(
        cls,
        config: ConfigValues,
        vary: str,
        method: Method,
        trials: int,
        seed: int = 0,
        end_early: bool = True,
    ) -> io.NodeOutput:
        from ...ltxv_train_core.sweep.run import run_sweep, variant

        settings = build(TrainingConfig, config)
        if settings.model.training_mode == "full":
            raise ConfigurationError(
                [
                    "model.training_mode is 'full': a sweep on the canvas compares LoRAs; set it to 'lora'"
                ]
            )
        graph = graph_to_share(cls.hidden.extra_pnginfo, cls.hidden.prompt)
        progress = NodeProgress(cls.hidden.unique_id)
        train_one = partial(_train_one, NodeLocation.of(cls.hidden), graph)
        unload_models()
        found, folder = run_job(
            lambda report, stop: run_sweep(
                settings, vary, method, trials, seed, end_early, report, stop, train_one
            ),
            progress,
        )
        best = found.best
        if best is None:
            raise LTXVTrainError(f"no run of the sweep could be trained:\n{found.text}")
        run = run_library().find(best.run)
        step = _saved_step(run, best.best[0])
        name = publish_loras(run, step)
        shown = f"{found.text}\nbest: {name}\nIn ComfyUI's output folder: {LORA_SUBFOLDER}/sweeps/{folder.name}"
        progress.show_text(shown)
        chosen = variant(settings, dict(best.values))
        values: dict[str, Any] = {
            each: getattr(chosen, each) for each in TrainingConfig.model_fields
        }
        chart = image_from_pil(found.chart())
        return io.NodeOutput(name, values, found.text, chart, run.name, ui={"text": [shown]})


def _saved_step(run: "RunFolder", step: int) -> int:
    """The step of the LoRA next to a step; of equally near ones the later."""
    steps = [each.step for each in run.loras() if not each.is_average]
    return min(steps, key=lambda each: (abs(each - step), -each))


def _train_one(
    location: NodeLocation,
    graph: Mapping[str, str] | None,
    config: TrainingConfig,
    report: Reporter,
    control: Control,
) -> "RunFolder":
    """Trains a run as training nodes do, so that the panel shows it, and waits for it."""
    from ...ltxv_train_core.training.run_plan import plan_run

    plan = plan_run(config, report, stop=control, graph=graph)
    show_at(plan.run.name, location)
    if plan.is_finished:
        return plan.run
    job = job_manager().submit(plan)
    stop_listening = job.listeners.add(report)
    try:
        while not job.wait(_POLL_SECONDS):
            if control.is_set():
                job_manager().stop_if_active(job.name)
    finally:
        stop_listening()
    job.result()
    return plan.run
