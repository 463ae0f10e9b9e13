"""The nodes that train.

The trainer is imported when it is first needed, so that ComfyUI starts quickly.
"""

from typing import Any, ClassVar

from comfy_api.latest import io

from ...ltxv_train_core.config import ConditioningConfig, ModelConfig, TrainingConfig, build
from ...ltxv_train_core.errors import ConfigurationError
from ..comfy.folders import graph_to_share
from ..comfy.sockets import CATEGORY, TRAINING_CONFIG, TRAINING_RUN
from ..server.broadcast import Place
from ..server.jobs import ask_for_room, job_manager, run_library, show_at, tell
from .progress import NodeProgress
from .result_files import every_time
from .results import LORA_NAME, MODEL_NAME, given, results, results_later, run_outputs
from .run_job import follow_run, make_room, run_job

WAIT, DETACHED = "wait", "detached"


class TrainNode(io.ComfyNode):
    """What all training nodes do; they differ in what is trained, and on what it is
    conditioned."""

    node_id: ClassVar[str]
    display_name: ClassVar[str]
    description: ClassVar[str]
    gives: ClassVar[io.Output] = LORA_NAME

    @classmethod
    def prepare(cls, values: dict[str, Any]) -> dict[str, Any]:
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
                ),
                TRAINING_RUN.Input(
                    "continue_from",
                    optional=True,
                    tooltip="A finished run, from another training node: its training is carried "
                    "on for as many steps as optimization.steps says, in a run of its own.",
                ),
                io.Combo.Input(
                    "mode",
                    options=[WAIT, DETACHED],
                    default=WAIT,
                    optional=True,
                    tooltip="wait: the graph goes on when training is done. detached: the graph "
                    "ends, the run goes on in the background; Wait for LTXV Run joins it.",
                ),
                io.Boolean.Input(
                    "train_again",
                    default=False,
                    optional=True,
                    tooltip="Train a finished run once more, beside the earlier one, every time "
                    "that the graph is queued.",
                ),
                io.Int.Input(
                    "processes",
                    default=0,
                    min=0,
                    max=64,
                    optional=True,
                    tooltip="0: train inside ComfyUI. 1: in a process of its own, which can't take "
                    "ComfyUI down. More: in so many processes together, one for each GPU; each "
                    "brings a batch of its own.",
                ),
            ],
            outputs=run_outputs(cls.gives),
            hidden=[io.Hidden.unique_id, io.Hidden.prompt, io.Hidden.extra_pnginfo],
        )

    @classmethod
    def fingerprint_inputs(
        cls, mode: str | None = WAIT, train_again: bool | None = False, **_: Any
    ) -> int:
        """A run that isn't waited for may have moved since; asking for it again costs little. One
        that was deleted is trained again."""
        return every_time() if train_again or mode == DETACHED else given.count_gone()

    @classmethod
    def execute(
        cls,
        config: dict[str, Any],
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
        show_at(plan.run.name, Place.of(cls.hidden))
        if plan.is_finished:
            tell(plan.run.name, plan.state)
            run_job(lambda report, stop: trainer.found_finished(plan, report), progress)
            line = f"{plan.state.step} steps; found finished, nothing was trained"
            return results(plan.run, plan.state, line)
        make_room()
        if mode == DETACHED:
            job = job_manager().submit(plan, make_room=ask_for_room)
            line = f"{job.name} trains in the background, step {job.step} of {plan.steps}"
            progress.say(line)
            return results_later(plan.run, line)
        progress = NodeProgress(cls.hidden.unique_id)
        progress.begin_with(plan.run.metrics())
        result = follow_run(job_manager().submit(plan), progress, stops_it=True)
        state = plan.run.written_state()
        assert state is not None
        progress.say(f"{result.lora_file.stem}, {result.step} steps")
        return results(plan.run, state, f"{result.step} steps")


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
        return super().prepare(values)


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
        return super().prepare(
            {**values, "conditioning": conditioning.model_copy(update={"mode": "reference_video"})}
        )


class LTXVTrainModel(TrainNode):
    node_id = "LTXVTrainModel"
    display_name = "Train LTXV Model"
    description = (
        "Trains every weight of LTX-Video (full fine-tuning); model.training_mode is set to full. It "
        "takes far more memory than a LoRA. Cancel stops within a step and keeps the checkpoint; "
        "the same configuration queued again goes on from there, or finds the finished model."
    )
    gives = MODEL_NAME

    @classmethod
    def prepare(cls, values: dict[str, Any]) -> dict[str, Any]:
        model = values.get("model", ModelConfig())
        return {**values, "model": model.model_copy(update={"training_mode": "full"})}
