"""The nodes that train.

The trainer is imported when it is first needed, so that ComfyUI starts quickly.
"""

from typing import ClassVar, TypedDict

from comfy_api.latest import io

from ...ltxv_train_core.config import ConditioningConfig, ModelConfig, TrainingConfig, build
from ...ltxv_train_core.errors import ConfigurationError
from ...ltxv_train_core.recipes.names import Goal
from ..comfy.folders import graph_to_share
from ..comfy.prompts import Prompt, is_linked
from ..comfy.schema import advanced, search_aliases
from ..comfy.sockets import CATEGORY, TRAINING_CONFIG, TRAINING_RUN
from ..comfy.widget_problems import WidgetProblem
from ..config.graph import (
    missing_here,
    problems_together,
    recipe_goal,
    written_configuration,
)
from ..dataset.clip_length import whole_clips
from ..server.broadcast import NodeLocation
from ..server.jobs import job_manager, report_run_state, request_model_unload, run_library, show_at
from .progress import NodeProgress
from .result_files import always_changed
from .results import (
    LORA_NAME,
    MODEL_NAME,
    result_files,
    results,
    results_while_training,
    run_outputs,
)
from .run_job import follow_run, run_job, unload_models

WAIT, DETACHED = "wait", "detached"


NO_CONFIG = (
    "not connected. Connect the config output of Join LTXV Training Configuration (LTXVTrainConfig)"
)


class ConfigValues(TypedDict, total=False):
    """The value of a TRAINING_CONFIG socket: sections and options by name.

    Named here are the sections that a training node reads before they are validated together.
    """

    model: ModelConfig
    conditioning: ConditioningConfig


class TrainNode(io.ComfyNode):
    """The common base of the training nodes. They differ in what is trained and in its
    conditioning."""

    node_id: ClassVar[str]
    display_name: ClassVar[str]
    description: ClassVar[str]
    aliases: ClassVar[tuple[str, ...]]
    gives: ClassVar[io.Output] = LORA_NAME
    goals: ClassVar[tuple[Goal, ...]] = ()

    @classmethod
    def prepare(cls, values: ConfigValues) -> ConfigValues:
        """The configuration's values as this node trains them."""
        if values.get("model", ModelConfig()).training_mode == "full":
            raise ConfigurationError(
                [
                    "model.training_mode is 'full', which trains the whole model: use the node "
                    "Train LTXV Model (LTXVTrainModel), or set the mode to 'lora'"
                ]
            )
        return values

    @classmethod
    def graph_problems(cls, prompt: Prompt, node_id: str) -> list[tuple[str, WidgetProblem]]:
        """What would stop the training after everything before it has run."""
        config = prompt[node_id][1].get("config")
        if not is_linked(config):
            return [(node_id, WidgetProblem("config", NO_CONFIG))]
        goal = recipe_goal(prompt, config[0])
        if goal is not None and goal not in cls.goals:
            fits = next(
                node
                for node in (LTXVTrainLoRA, LTXVTrainICLoRA, LTXVTrainModel)
                if goal in node.goals
            )
            line = f"{goal} is trained by the node {fits.display_name} ({fits.node_id})"
            return [
                (config[0], WidgetProblem("goal", f"{line}; this graph has {cls.display_name}"))
            ]
        written = written_configuration(prompt, config[0])
        if written is None:
            return []
        return (
            problems_together(written, cls.prepare, node_id)
            or missing_here(prompt, written)
            or whole_clips(prompt, written)
        )

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id=cls.node_id,
            display_name=cls.display_name,
            category=CATEGORY,
            description=cls.description,
            **search_aliases(*cls.aliases),
            is_output_node=True,
            inputs=[
                TRAINING_CONFIG.Input(
                    "config", tooltip="The configuration, from Join LTXV Training Configuration."
                ),
                TRAINING_RUN.Input(
                    "continue_from",
                    optional=True,
                    tooltip="A finished run, from another training node. A new run continues its "
                    "training for optimization.steps more steps.",
                ),
                io.Combo.Input(
                    "mode",
                    options=[WAIT, DETACHED],
                    default=WAIT,
                    optional=True,
                    tooltip="wait: the graph continues when training has finished. detached: the "
                    "run trains in the background; Wait for LTXV Run waits for it.",
                ),
                advanced(
                    io.Boolean.Input(
                        "train_again",
                        default=False,
                        optional=True,
                        tooltip="Train a finished run once more, as a new run beside the earlier one, "
                        "every time that the graph is queued.",
                    )
                ),
                advanced(
                    io.Int.Input(
                        "processes",
                        default=0,
                        min=0,
                        max=64,
                        optional=True,
                        tooltip="0: train inside ComfyUI. 1: in a process of its own; if it crashes, "
                        "ComfyUI keeps running. More: in that many processes together, one for each "
                        "GPU. They see batch_size x gradient_accumulation_steps x processes samples in a step.",
                    )
                ),
            ],
            outputs=run_outputs(cls.gives),
            hidden=[io.Hidden.unique_id, io.Hidden.prompt, io.Hidden.extra_pnginfo],
        )

    @classmethod
    def fingerprint_inputs(
        cls, mode: str | None = WAIT, train_again: bool | None = False, **_: object
    ) -> int:
        """Runs again for a detached run, whose state may have changed, and after a LoRA was
        deleted."""
        return always_changed() if train_again or mode == DETACHED else result_files.count_deleted()

    @classmethod
    def execute(
        cls,
        config: ConfigValues,
        continue_from: str | None = None,
        mode: str = WAIT,
        train_again: bool = False,
        processes: int = 0,
    ) -> io.NodeOutput:
        settings = build(TrainingConfig, cls.prepare(config))
        from ...ltxv_train_core.training import trainer
        from ...ltxv_train_core.training.run_plan import plan_run

        progress = NodeProgress(cls.hidden.unique_id)
        before = run_library().find(continue_from) if continue_from else None
        graph = graph_to_share(cls.hidden.extra_pnginfo, cls.hidden.prompt)
        plan = run_job(
            lambda report, stop: plan_run(
                settings,
                report,
                stop=stop,
                again=train_again,
                continue_from=before,
                graph=graph,
                processes=processes,
            ),
            progress,
        )
        show_at(plan.run.name, NodeLocation.of(cls.hidden))
        if plan.is_finished:
            report_run_state(plan.run.name, plan.state)
            run_job(lambda report, stop: trainer.reuse_finished_run(plan, report), progress)
            line = f"{plan.state.step} steps; already finished, reused"
            return results(plan.run, plan.state, line)
        unload_models()
        if mode == DETACHED:
            job = job_manager().submit(plan, before_training=request_model_unload)
            line = f"{job.name} trains in the background, step {job.step} of {plan.steps}"
            return results_while_training(plan.run, line)
        progress = NodeProgress(cls.hidden.unique_id)
        progress.load_metrics(plan.run.metrics())
        result = follow_run(job_manager().submit(plan), progress, stops_it=True)
        state = plan.run.written_state()
        assert state is not None
        progress.show_text(f"{result.lora_file.stem}, {result.step} steps")
        return results(plan.run, state, f"{result.step} steps")


class LTXVTrainLoRA(TrainNode):
    """Trains a LoRA."""

    node_id = "LTXVTrainLoRA"
    goals = ("style", "character", "motion")
    display_name = "Train LTXV LoRA"
    description = (
        "Teaches LTX-Video a style, a subject or a motion from your own clips, as a small LoRA file. "
        "ComfyUI's models are unloaded first. Cancel stops within a step and keeps the checkpoint; the "
        "same configuration queued again resumes from there, or reuses the finished LoRA."
    )
    aliases = (
        *("train", "finetune", "fine-tune", "lora", "dreambooth", "style", "motion", "character"),
        *("subject", "resume", "checkpoint"),
    )

    @classmethod
    def prepare(cls, values: ConfigValues) -> ConfigValues:
        """Refuses an IC-LoRA, which has a node of its own."""
        conditioning = values.get("conditioning", ConditioningConfig())
        if conditioning.reference_streams:
            raise ConfigurationError(
                [
                    f"conditioning.mode is {conditioning.mode!r}, which trains an IC-LoRA: use the node "
                    "Train LTXV IC-LoRA (LTXVTrainICLoRA), or set the mode to 'none'"
                ]
            )
        return super().prepare(values)


class LTXVTrainICLoRA(TrainNode):
    """Trains an IC-LoRA."""

    node_id = "LTXVTrainICLoRA"
    goals = ("ic-lora",)
    display_name = "Train LTXV IC-LoRA"
    description = (
        "Teaches LTX-Video to follow a second video, such as its edges or depth, as a small IC-LoRA "
        "file; with LTX-2 a second sound, too. The data set needs references; a conditioning.mode of none counts "
        "as reference_video. "
        "Cancel stops within a step and keeps the checkpoint; the same configuration queued again "
        "resumes from there, or reuses the finished LoRA."
    )
    aliases = ("train", "finetune", "fine-tune", "lora", "control", "video to video", "resume")

    @classmethod
    def prepare(cls, values: ConfigValues) -> ConfigValues:
        """Sets conditioning.mode to reference_video, where it names no reference."""
        conditioning = values.get("conditioning", ConditioningConfig())
        if conditioning.reference_streams:
            return super().prepare(values)
        return super().prepare(
            {**values, "conditioning": conditioning.model_copy(update={"mode": "reference_video"})}
        )


class LTXVTrainModel(TrainNode):
    """Trains every weight of the transformer."""

    node_id = "LTXVTrainModel"
    goals = ("full",)
    display_name = "Train LTXV Model"
    description = (
        "Teaches the whole model from your own clips: for large data sets, with far more memory than "
        "a LoRA needs. Every weight is trained (full fine-tuning); model.training_mode is set to "
        "full. Cancel stops within a step and keeps the checkpoint; the same configuration queued "
        "again resumes from there, or reuses the finished model."
    )
    aliases = ("train", "finetune", "fine-tune", "full", "dreambooth", "checkpoint", "resume")
    gives = MODEL_NAME

    @classmethod
    def prepare(cls, values: ConfigValues) -> ConfigValues:
        """Sets model.training_mode to full."""
        model = values.get("model", ModelConfig())
        return {**values, "model": model.model_copy(update={"training_mode": "full"})}
