from comfy_api.latest import io

from ...ltxv_train_core.errors import LTXVTrainError
from ...ltxv_train_core.runs.library import current_state
from ..comfy.schema import search_aliases
from ..comfy.sockets import CATEGORY, TRAINING_RUN
from ..server.broadcast import NodeLocation
from ..server.jobs import job_manager, run_library, show_at
from .progress import NodeProgress
from .result_files import always_changed
from .results import results, run_outputs
from .run_job import follow_run


class LTXVTrainWait(io.ComfyNode):
    """Waits for a detached run and outputs its results."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="LTXVTrainWait",
            display_name="Wait for LTXV Run",
            category=CATEGORY,
            description="Waits until a training in the background has finished, and then outputs "
            "its LoRA. Cancel ends the waiting; the run continues.",
            **search_aliases("background", "detached"),
            is_output_node=True,
            inputs=[
                TRAINING_RUN.Input("run", optional=True, tooltip="The run, from a training node."),
                io.String.Input(
                    "run_name",
                    default="",
                    optional=True,
                    tooltip="Name of the run (the name of its folder), if no run is connected.",
                ),
            ],
            outputs=run_outputs(),
            hidden=[io.Hidden.unique_id, io.Hidden.extra_pnginfo],
        )

    @classmethod
    def fingerprint_inputs(cls, **values: object) -> int:
        """Runs every time: the state of a run may have changed."""
        return always_changed()

    @classmethod
    def execute(cls, run: str | None = None, run_name: str = "") -> io.NodeOutput:
        name = run or run_name.strip()
        if not name:
            raise LTXVTrainError("no run to wait for: connect run, or write run_name")
        folder = run_library().find(name)
        job = job_manager().find(name)
        if job is not None:
            progress = NodeProgress(cls.hidden.unique_id)
            progress.load_metrics(folder.metrics())
            show_at(name, NodeLocation.of(cls.hidden))
            follow_run(job, progress, stops_it=False)
        state = current_state(folder)
        if state and job is None and state.status in ("queued", "running"):
            raise LTXVTrainError(
                f"run {name} is trained by another program, at step {state.step} of "
                f"{state.steps}; wait for it when that has finished"
            )
        if state is None or state.status != "finished":
            where = f"{state.status} at step {state.step} of {state.steps}" if state else "damaged"
            reason = f": {state.cause}" if state and state.cause else ""
            raise LTXVTrainError(
                f"run {name} is {where}{reason}; queue its training node again to resume it"
            )
        if not folder.lora_file(state.step).is_file():
            raise LTXVTrainError(
                f"run {name} has finished, but its LoRA was deleted; queue its training node to "
                "write it again"
            )
        return results(folder, state, f"{state.step} steps")
