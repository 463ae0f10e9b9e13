"""Trains a run in a process of its own, or in several, which `accelerate launch` starts.

A crash there leaves this process alive. The worker writes the run; this side reports its events and
sends it what is asked of the run.
"""

import logging
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ..config import TrainingConfig
from ..errors import Cancelled
from ..events import Control, Notice, Reporter, StopSignal
from ..models import device
from ..permissions import environment
from ..permissions.launcher import LOCAL, LauncherProfile, launcher_profile
from ..runs import Failure, RunFolder, RunWriter
from ..runs.failures import RunFailedError, failure_left
from ..runs.state import ACTIVE
from ..storage.faults import named_faults
from ..training.run_plan import RunPlan, plan_again, plan_run
from ..training.trainer import (
    TrainingResult,
    begin,
    interrupted,
    park,
    result_of,
    reuse_finished_run,
    train_plan,
)
from .ipc import ADDRESS_VARIABLE, WorkerListener
from .launcher_log import last_words
from .process_tree import detached
from .worker_watch import WorkerEnded, WorkerWatch

WORKER = Path(__file__).with_name("worker.py")
LOG_NAME = "worker.log"
LOCK_SECONDS = 30.0
"""How long each side waits for the run's lock. This side passes it to the worker, and Windows may free
the lock of a process that has ended only some seconds later."""


_UTF8 = {"PYTHONUTF8": "1"}
"""So that a worker on Windows prints every name of a file, and reads what libraries write in UTF-8."""

logger = logging.getLogger("ltxv_train")


@dataclass(frozen=True)
class SubprocessTrainer:
    """Trains like `trainer.train_plan`, in worker processes.

    Attributes:
        processes: how many train together.
    """

    processes: int = 1

    def __call__(
        self, plan: RunPlan, writer: RunWriter, report: Reporter, control: Control
    ) -> TrainingResult:
        """Trains a run that has begun; its lock is passed to the worker.

        Raises:
            RunFailedError: it failed there, or the worker crashed or hung.
            DiskError: the worker can't be started.
            Cancelled: it was stopped before its first step.
        """
        cause = None if control.is_set() else self._work(plan, writer, report, control)
        state = plan.run.written_state()
        if state is None or state.status in ACTIVE:  # the worker has not said how it ended
            park(plan.run, writer, report, "failed" if cause else interrupted(control), cause)
        return _result(plan.run)

    def _work(
        self, plan: RunPlan, writer: RunWriter, report: Reporter, control: Control
    ) -> Failure | None:
        """Lets the worker train. Returns why it failed, unless the run's state says how it ended."""
        profile = launcher_profile() if self.processes > 1 else None
        listener = WorkerListener(profile.host if profile else LOCAL)
        log = plan.run.folder / LOG_NAME
        writer.release()
        try:
            with named_faults(log), log.open("wb") as output:
                process = subprocess.Popen(
                    _command(plan.run, self.processes, profile),
                    env=os.environ
                    | environment()
                    | device.device_environment()
                    | {ADDRESS_VARIABLE: listener.address}
                    | _UTF8,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    **detached(),
                )
            WorkerWatch(process, report, control).follow(listener)
        except WorkerEnded as ended:
            if ended.cause is None:
                report(Notice(str(ended), is_problem=True))
            return ended.cause
        finally:
            listener.close()
            writer.acquire(LOCK_SECONDS)
        state = plan.run.written_state()
        is_told = state is not None and state.status not in ACTIVE
        return None if is_told else _crash(plan.run, process.returncode, log)


def train_in_subprocess(
    config: TrainingConfig,
    report: Reporter,
    stop: StopSignal,
    processes: int,
    again: bool = False,
    continue_from: RunFolder | None = None,
) -> TrainingResult:
    """Trains a configuration like `trainer.train`, in worker processes.

    Args:
        processes: how many train together, at least 1.
        again: trains a finished run once more, beside the earlier one.
        continue_from: a finished run whose training this one continues.

    Raises:
        LTXVTrainError: configuration, data or model can't be used, or the run failed.
        Cancelled: it was stopped before its first step.
    """
    plan = plan_run(
        config,
        report,
        stop=stop,
        again=again,
        continue_from=continue_from,
        processes=processes,
    )
    return _work(plan, report, stop)


def resume_training(run: RunFolder, report: Reporter, stop: StopSignal) -> TrainingResult:
    """Resumes a run from its folder alone, in worker processes where it had some.

    Raises:
        LTXVTrainError: its data, model or configuration can't be used, or it failed.
        Cancelled: it was stopped before its first step.
    """
    return _work(plan_again(run, report), report, stop)


def trainer_for(plan: RunPlan) -> Callable[..., TrainingResult]:
    """Returns `trainer.train_plan`, or the same in as many processes as the plan says."""
    return SubprocessTrainer(plan.state.processes) if plan.state.processes else train_plan


def _work(plan: RunPlan, report: Reporter, stop: StopSignal) -> TrainingResult:
    if plan.is_finished:
        return reuse_finished_run(plan, report)
    with RunWriter(plan.run).acquire() as writer:
        begin(plan, writer, report)
        return trainer_for(plan)(plan, writer, report, Control.of(stop))


def _command(run: RunFolder, processes: int, profile: LauncherProfile | None) -> list[str]:
    worker = [str(WORKER), str(run.folder)]
    if processes == 1:
        return [sys.executable, *worker]
    if profile is not None:
        return [*profile.words(processes), *worker]
    return [
        *(sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu", "--gpu_ids", "all"),
        *("--num_processes", str(processes), "--num_machines", "1", "--main_process_port", "0"),
        *("--mixed_precision", "no", "--dynamo_backend", "no"),
        *worker,
    ]


def _crash(run: RunFolder, exit_code: int, log: Path) -> Failure:
    """Why a worker ended without a word."""
    text = log.read_text(encoding="utf-8", errors="replace").strip()
    logger.error("the worker of run %s ended with code %s\n%s", run.name, exit_code, text)
    return failure_left(run) or Failure(
        "crashed",
        last_words(text, exit_code),
        f"{log} has its last output. Queue the run again to resume it from where it was last saved",
    )


def _result(run: RunFolder) -> TrainingResult:
    state = run.written_state()
    assert state is not None
    if state.cause is not None:
        raise RunFailedError(state.cause)
    if state.step == 0:
        raise Cancelled("stopped before the first step")
    return result_of(run, state)
