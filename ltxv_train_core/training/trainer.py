"""Trains a run, from a configuration to the LoRA file.

`train` is the door; `train_plan` trains a run that was found or made before, and parks it with a
named cause when it fails.
"""

import logging
import traceback
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from ..config import TrainingConfig, yaml_file
from ..errors import Cancelled, LTXVTrainError
from ..events import Control, Notice, Reporter, RunStatusChanged, StopSignal, ignore
from ..models.described import described
from ..models.device import free_memory
from ..publish.hub import push_when_finished
from ..runs import Failure, RunFolder, RunState, RunWriter, Status
from ..runs.failures import RunFailedError, failure_left, failure_of, leave_failure
from ..storage.atomic import write_json
from ..storage.faults import DiskError
from ..trackers import tracked
from .checkpoint import remove_leftovers
from .distributed import Processes
from .loop import TrainingLoop
from .lost import ProcessLostError, watched
from .run_plan import RunPlan, plan_again, plan_run
from .trainable import has_wanted_dtype, write_missing_forms

logger = logging.getLogger("ltxv_train")


@dataclass(frozen=True)
class TrainingResult:
    """What a run leaves: its newest LoRA file, and how far it came.

    Attributes:
        ema_file: the LoRA file of the averaged weights, with `optimization.ema_decay`.
    """

    lora_file: Path
    run_folder: Path
    step: int
    steps: int
    ema_file: Path | None = None

    @property
    def finished(self) -> bool:
        return self.step == self.steps


def train(
    config: TrainingConfig,
    report: Reporter = ignore,
    stop: StopSignal | None = None,
    *,
    again: bool = False,
    continue_from: RunFolder | None = None,
    graph: Mapping[str, str] | None = None,
    processes: Processes | None = None,
) -> TrainingResult:
    """Trains, resumes an interrupted run, or finds the finished one.

    Stops between two steps when asked to, with a checkpoint and a LoRA of the step it reached.

    Args:
        stop: a `Control` can also pause, and ask for samples and checkpoints.
        again, continue_from, graph: see `plan_run`.
        processes: those that train together; this is the first one, the others `follow_first`.

    Raises:
        LTXVTrainError: when configuration, data or model can't be used; nothing was started.
        RunBusyError: when another job or program trains the run.
        RunFailedError: when it failed; the run is stopped and resumes when its cause is gone.
        Cancelled: when it was stopped before its first step was saved.
    """
    processes = processes or Processes()
    plan = plan_run(
        config,
        report,
        stop=stop,
        again=again,
        continue_from=continue_from,
        graph=graph,
        processes=processes.count if processes.count > 1 else 0,
    )
    if plan.is_finished:
        processes.agree(None)
        return reuse_finished_run(plan, report)
    with RunWriter(plan.run).acquire() as writer:
        begin(plan, writer, report)
        return train_plan(plan, writer, report, stop, processes)


def follow_first(processes: Processes) -> None:
    """Trains together with the first process, which calls `train` or `train_plan`."""
    folder = processes.agree(None)
    if folder is None:
        return
    run = RunFolder(Path(folder))
    try:
        with watched(processes, partial(leave_failure, run)):
            plan = plan_again(run)
            TrainingLoop(plan, RunWriter(run), ignore, Control(), processes).run()
    except Exception as error:
        if not isinstance(error, Cancelled | ProcessLostError):
            cause = failure_of(error)
            leave_failure(run, replace(cause, message=f"{processes.name}: {cause.message}"))
        raise


def reuse_finished_run(plan: RunPlan, report: Reporter) -> TrainingResult:
    """The result of a run that is finished."""
    report(Notice(f"{plan.run.name} is finished: its LoRA is used as it is"))
    result = result_of(plan.run, plan.state)
    for file in filter(None, (result.lora_file, result.ema_file)):
        write_missing_forms(plan.config, file)
    if not has_wanted_dtype(plan.config, result.lora_file):
        wanted = plan.config.checkpoints.lora_dtype
        report(
            Notice(
                f"checkpoints.lora_dtype {wanted}: the LoRA was written in another format and "
                "stays so; remove its file to have it written again from the checkpoint"
            )
        )
    push_when_finished(plan.config, plan.run, report)
    return result


def result_of(run: RunFolder, state: RunState) -> TrainingResult:
    """What a run has left at the step of its state."""
    ema_file = run.ema_file(state.step)
    return TrainingResult(
        run.lora_file(state.step),
        run.folder,
        state.step,
        state.steps,
        ema_file if ema_file.is_file() else None,
    )


def begin(plan: RunPlan, writer: RunWriter, report: Reporter = ignore) -> RunState:
    """Puts a run on disk, or one that is there back into the queue.

    Raises:
        LTXVTrainError: its folder can't be written.
    """
    plan.run.require_no_links()
    try:
        remove_leftovers(plan.run.folder)
        plan.run.failure_file.unlink(missing_ok=True)
        yaml_file.save(plan.config, plan.run.config_file)
        if plan.graph is not None:
            write_json(plan.run.graph_file, dict(plan.graph))
        writer.begin(plan.state)
        state = writer.move("queued", processes=plan.state.processes, steps=plan.state.steps)
    except OSError as error:
        raise LTXVTrainError(
            f"run {plan.run.name} can't be written: {error}; make room, delete what is in the way, "
            "or change who may write"
        ) from error
    return report_state(report, plan.run, state)


def report_state(report: Reporter, run: RunFolder, state: RunState) -> RunState:
    """Reports the state that a run has moved to."""
    cause = state.cause
    report(
        RunStatusChanged(
            run.name,
            state.status,
            state.step,
            state.steps,
            cause.kind if cause else None,
            str(cause) if cause else None,
        )
    )
    return state


def train_plan(
    plan: RunPlan,
    writer: RunWriter,
    report: Reporter = ignore,
    stop: StopSignal | None = None,
    processes: Processes | None = None,
) -> TrainingResult:
    """Trains a run that has begun and whose lock is held; see `train`."""
    control = Control.of(stop)
    processes = processes or Processes()
    processes.agree(str(plan.run.folder))
    error: Exception | None = None
    cause: Failure | None = None
    try:
        report_state(report, plan.run, writer.move("running"))
        write_json(plan.run.machine_file, described(processes.device))
        with (
            watched(processes, partial(park, plan.run, writer, report, "failed")),
            tracked(plan.config, plan.run.folder, report) as follow,
        ):
            TrainingLoop(plan, writer, follow, control, processes).run()
        state = _ended(writer, control)
    except Exception as raised:
        error = raised
        if not isinstance(raised, Cancelled):
            cause = failure_of(raised)
            if isinstance(raised, ProcessLostError):  # it may have said why
                cause = failure_left(plan.run) or raised.cause
        if not isinstance(raised, LTXVTrainError | Cancelled):
            logger.error("run %s failed\n%s", plan.run.name, traceback.format_exc())
    finally:
        _forget(error)
        free_memory()
    if error is not None:
        park(plan.run, writer, report, interrupted(control) if cause is None else "failed", cause)
        saved = plan.run.written_state()
        if cause is None and saved is not None and saved.step > 0:
            return result_of(plan.run, saved)
        is_told = isinstance(error, LTXVTrainError) and not isinstance(error, DiskError)
        raise error if cause is None or is_told else RunFailedError(cause)
    report_state(report, plan.run, state)
    push_when_finished(plan.config, plan.run, report)
    return result_of(plan.run, state)


def _ended(writer: RunWriter, control: Control) -> RunState:
    """Moves the state of a run whose loop has ended."""
    state = writer.run.written_state()
    assert state is not None
    return writer.move("finished" if state.step == state.steps else interrupted(control))


def park(
    run: RunFolder,
    writer: RunWriter,
    report: Reporter,
    status: Status,
    cause: Failure | None = None,
) -> None:
    """Writes down how a run ended, as well as a full disk lets it."""
    try:
        report_state(report, run, writer.move(status, cause=cause))
    except OSError as error:
        report(Notice(f"the state of run {run.name} can't be written: {error}", is_problem=True))
        text = str(cause) if cause else None
        report(RunStatusChanged(run.name, status, 0, 0, cause.kind if cause else None, text))


def interrupted(control: Control) -> Status:
    """The state of a run that was asked to stop or to pause."""
    return "paused" if control.is_pausing else "stopped"


def _forget(error: BaseException | None) -> None:
    """Lets go of what the frames of an error hold: the model, its activations, its gradients."""
    while error is not None:
        traceback.clear_frames(error.__traceback__)
        error.__traceback__ = None
        behind = error.__cause__ or error.__context__
        error.__cause__ = error.__context__ = None
        error = behind
