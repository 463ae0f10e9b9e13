"""Trains a run in a process of its own, or in several, which `accelerate launch` starts.

Nothing that happens there can take this process down. The worker writes the run; this side follows
its events and hands on what is asked.
"""

import contextlib
import logging
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..config import TrainingConfig
from ..errors import Cancelled
from ..events import Control, Reporter, StopSignal
from ..permissions import environment
from ..runs import Cause, RunFolder, RunWriter
from ..runs.failures import RunFailedError, left_cause
from ..storage.faults import named_faults
from ..training.run_plan import RunPlan, plan_again, plan_run
from ..training.trainer import TrainingResult, begin, found_finished, park, result_of, train_plan
from .ipc import VARIABLE, Door, Link, to_event

WORKER = Path(__file__).with_name("worker.py")
LOG_NAME = "worker.log"
POLL_SECONDS = 0.05
LOCK_SECONDS = 30.0

_UTF8 = {"PYTHONUTF8": "1"}
"""So that a worker on Windows prints every name of a file, and reads what libraries write in UTF-8."""

logger = logging.getLogger("ltxv_train")


@dataclass(frozen=True)
class Isolated:
    """Used in the place of `trainer.train_plan`.

    Attributes:
        processes: how many train together.
    """

    processes: int = 1

    def __call__(
        self, plan: RunPlan, writer: RunWriter, report: Reporter, control: Control
    ) -> TrainingResult:
        """Trains a run that has begun; its lock is lent to the worker.

        Raises:
            RunFailedError: it failed there, or the worker crashed.
            DiskError: the worker can't be started.
            Cancelled: it was stopped before its first step.
        """
        door = Door()
        log = plan.run.folder / LOG_NAME
        writer.release()
        try:
            with named_faults(log), log.open("wb") as output:
                process = subprocess.Popen(
                    _command(plan.run, self.processes),
                    env=os.environ | environment() | {VARIABLE: door.address} | _UTF8,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    **_detached(),
                )
            _follow(process, door, report, control)
        finally:
            door.close()
            writer.acquire(LOCK_SECONDS)
        return _outcome(plan.run, writer, report, process.returncode, log)


def train_apart(
    config: TrainingConfig,
    report: Reporter,
    stop: StopSignal,
    processes: int,
    again: bool = False,
    continue_from: RunFolder | None = None,
) -> TrainingResult:
    """Like `trainer.train`, in processes of their own."""
    plan = plan_run(
        config,
        report,
        stop=stop,
        again=again,
        continue_from=continue_from,
        processes=processes,
    )
    return _work(plan, report, stop)


def resume_here(run: RunFolder, report: Reporter, stop: StopSignal) -> TrainingResult:
    """Goes on with a run from its folder alone, in processes of its own where it had some."""
    return _work(plan_again(run, report), report, stop)


def how_to_train(plan: RunPlan) -> Callable[..., TrainingResult]:
    """`trainer.train_plan`, or the same in as many processes as the plan says."""
    return Isolated(plan.state.processes) if plan.state.processes else train_plan


def _work(plan: RunPlan, report: Reporter, stop: StopSignal) -> TrainingResult:
    if plan.is_finished:
        return found_finished(plan, report)
    with RunWriter(plan.run).acquire() as writer:
        begin(plan, writer, report)
        return how_to_train(plan)(plan, writer, report, Control.of(stop))


def _detached() -> dict[str, Any]:
    """Ctrl-C is this side's to understand: it asks the worker to stop. Windows would open a console
    for a worker of a program that has none."""
    if sys.platform == "win32":
        flags = subprocess.CREATE_NEW_PROCESS_GROUP | subprocess.CREATE_NO_WINDOW
        return {"creationflags": flags}
    return {"start_new_session": True}


def _command(run: RunFolder, processes: int) -> list[str]:
    worker = [str(WORKER), str(run.folder)]
    if processes == 1:
        return [sys.executable, *worker]
    return [
        *(sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu", "--gpu_ids", "all"),
        *("--num_processes", str(processes), "--num_machines", "1", "--main_process_port", "0"),
        *("--mixed_precision", "no", "--dynamo_backend", "no"),
        *worker,
    ]


def _follow(process: subprocess.Popen, door: Door, report: Reporter, control: Control) -> None:
    """Hands events and wishes on until the worker has ended."""
    link = door.open(give_up=lambda: process.poll() is not None)
    if link is None:
        return
    reader = threading.Thread(target=_read, args=(link, report), daemon=True)
    reader.start()
    asked: str | None = None
    while True:
        try:
            process.wait(POLL_SECONDS)
            break
        except subprocess.TimeoutExpired:
            pass
        wishes: list[str] = list(control.take_requests())
        wish = ("pause" if control.is_pausing else "stop") if control.is_set() else None
        if wish is not None and wish != asked:
            wishes.append(wish)
            asked = wish
        with contextlib.suppress(OSError):
            for each in wishes:
                link.send({"ask": each})
    reader.join()
    link.close()


def _read(link: Link, report: Reporter) -> None:
    for message in link.messages():
        report(to_event(message))


def _outcome(
    run: RunFolder, writer: RunWriter, report: Reporter, exit_code: int, log: Path
) -> TrainingResult:
    state = run.written_state()
    assert state is not None
    if state.status in ("queued", "running"):
        text = log.read_text(encoding="utf-8", errors="replace").strip()
        logger.error("the worker of run %s ended with code %s\n%s", run.name, exit_code, text)
        cause = left_cause(run) or Cause(
            "crashed",
            f"the training process ended with code {exit_code} and no word ({_last(text)})",
            f"{log} has its last words. Queue the run again to go on from where it was last saved",
        )
        park(run, writer, report, "failed", cause)
        raise RunFailedError(cause)
    if state.cause is not None:
        raise RunFailedError(state.cause)
    if state.step == 0:
        raise Cancelled("stopped before the first step")
    return result_of(run, state)


def _last(text: str) -> str:
    """The last line; of several processes theirs, not the report of their launcher."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    theirs = [line for line in lines if line.startswith("[rank")]
    return (theirs or lines or ["it said nothing"])[-1]
