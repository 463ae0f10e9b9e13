"""The queue of runs: one trains at a time on each device, the others wait."""

import atexit
import logging
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path

from ..errors import LTXVTrainError, shown
from ..events import Control, Event, Request
from ..models.device import default_device
from ..runs import RunFolder, RunWriter, Status
from ..runs.failures import failure_of
from ..training.run_plan import RunPlan, plan_again
from ..training.trainer import TrainingResult, begin, park, result_of
from .listeners import Listeners
from .run_job import RunJob
from .subprocess_trainer import trainer_for

Listener = Callable[[str, Event], None]
"""Called with a run's name and an event of it, from the thread that works on the run."""

logger = logging.getLogger("ltxv_train")


class JobManager:
    """All jobs of a process. Thread-safe; every call returns at once.

    A run is named by its folder's name. The lock of a queued or training run is held, so that no other
    program trains it; the lock of a paused run is free.
    """

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._jobs: dict[Path, RunJob] = {}
        self._queues: dict[str, list[RunJob]] = {}
        self._running: dict[str, RunJob] = {}
        self._listeners: Listeners[str, Event] = Listeners()

    def submit(
        self,
        plan: RunPlan,
        before_training: Callable[[], None] | None = None,
    ) -> RunJob:
        """Queues a run. One that is queued or trains already is returned; a paused one resumes.

        Args:
            plan: of a run that isn't finished.
            before_training: called in the job's thread, just before it begins to train.

        Raises:
            RunBusyError: another program trains it.
            LTXVTrainError: it continues from a run outside of its own folder.
        """
        if plan.start is not None and plan.start.folder.parent != plan.run.folder.parent:
            raise LTXVTrainError(
                f"run {plan.run.name} continues from a run in another folder "
                f"({shown(str(plan.start.folder))}): resume it from a command line"
            )
        with self._lock:
            job = self._jobs.get(plan.run.folder)
            if job is not None:
                self._resume(job)
                return job
            writer = RunWriter(plan.run).acquire()
            job = RunJob(plan, writer, trainer_for(plan), str(default_device()), before_training)
            job.listeners.add(partial(self._listeners, job.name))
            self._enqueue(job)
            self._jobs[plan.run.folder] = job
            return job

    def jobs(self) -> list[RunJob]:
        """The jobs that train, then those that wait, in order, then the paused ones."""
        with self._lock:
            running = list(self._running.values())
            waiting = [job for queue in self._queues.values() for job in queue]
            rest = [j for j in self._jobs.values() if j not in running and j not in waiting]
            return running + waiting + rest

    def find(self, name: str) -> RunJob | None:
        """The job of a run, or None where this process has none."""
        return next((job for job in self.jobs() if job.name == name), None)

    def position(self, name: str) -> int | None:
        """How many runs are before one in its queue: 0 while it trains, None for no job or a
        paused one."""
        return self.positions().get(name)

    def positions(self) -> dict[str, int | None]:
        """The position of every run that has a job."""
        with self._lock:
            waiting = {
                job: place
                for queue in self._queues.values()
                for place, job in enumerate(queue, start=1)
            }
            return {
                job.name: None if job.status == "paused" else waiting.get(job, 0)
                for job in self._jobs.values()
            }

    def pause(self, name: str) -> None:
        """Asks a run to write a checkpoint and free its memory. `resume` continues it.

        Raises:
            LTXVTrainError: this process has no job of it.
        """
        with self._lock:
            job = self._find(name)
            if job in self._waiting(job):
                self._waiting(job).remove(job)
                self._set_idle(job, "paused")
            else:
                job.control.pause()

    def stop(self, name: str) -> None:
        """Asks a run to write a checkpoint and end.

        Raises:
            LTXVTrainError: this process has no job of it.
        """
        with self._lock:
            job = self._find(name)
            if job in self._waiting(job):
                self._waiting(job).remove(job)
                self._set_idle(job, "stopped")
            elif job.status == "paused" and not self._is_running(job):
                job.writer.acquire()
                self._set_idle(job, "stopped")
            else:
                job.resumes = False
                job.control.stop()

    def stop_if_active(self, name: str) -> None:
        """Stops a run that may have ended already."""
        with self._lock:
            if self.find(name) is not None:
                self.stop(name)

    def request(self, name: str, what: Request) -> None:
        """Asks a run for samples or a checkpoint after its current step.

        Raises:
            LTXVTrainError: this process doesn't train it now.
        """
        job = self._find(name)
        if job.status != "running":
            raise LTXVTrainError(
                f"run {name} is {job.status}: samples and checkpoints can be asked of a running one"
            )
        job.control.request(what)

    def resume(self, run: RunFolder, before_training: Callable[[], None] | None = None) -> RunJob:
        """Resumes a paused, stopped or failed run, from the configuration in its folder.

        A run that had worker processes gets them again.

        It reads the data set's index and opens the model: do not call it from an event loop.

        Args:
            before_training: as in `submit`.

        Raises:
            LTXVTrainError: it is finished, or its data, model or configuration can't be used.
        """
        with self._lock:
            job = self._jobs.get(run.folder)
            if job is not None:
                job.before_training = before_training or job.before_training
                self._resume(job)
                return job
        plan = plan_again(run)
        if plan.is_finished:
            raise LTXVTrainError(f"run {run.name} is finished")
        return self.submit(plan, before_training)

    def subscribe(self, listener: Listener) -> Callable[[], None]:
        """Calls a listener with every event of every run; returns what ends that."""
        return self._listeners.add(listener)

    def pause_at_exit(self) -> None:
        """Pauses everything when the interpreter ends.

        `threading._register_atexit` (CPython since 3.9, private) runs before the pools of threads that
        read data are shut down; `atexit` runs after that, when no batch can be read any more.
        """
        register = getattr(threading, "_register_atexit", atexit.register)
        register(self.shut_down)

    def shut_down(self, seconds: float = 60) -> None:
        """Pauses everything, and waits until the checkpoints are written.

        Args:
            seconds: the longest wait for one run.
        """
        with self._lock:
            for job in self.jobs():
                if job.status in ("queued", "running"):
                    self.pause(job.name)
            threads = [job.thread for job in self._running.values()]
        for thread in threads:
            if thread is not None:
                thread.join(seconds)

    def _find(self, name: str) -> RunJob:
        job = self.find(name)
        if job is None:
            raise LTXVTrainError(
                f"run {name!r} has no job in this process: it neither trains nor waits here"
            )
        return job

    def _waiting(self, job: RunJob) -> list[RunJob]:
        return self._queues.setdefault(job.device, [])

    def _enqueue(self, job: RunJob) -> None:
        """Appends a job whose lock is held to its device's queue."""
        try:
            begin(job.plan, job.writer, job.report)
        except BaseException:
            job.writer.release()
            raise
        self._waiting(job).append(job)
        self._start_next(job.device)

    def _is_running(self, job: RunJob) -> bool:
        """Whether its thread works, even if only to free the memory."""
        return self._running.get(job.device) is job

    def _resume(self, job: RunJob) -> None:
        """Queues a job that is paused or pausing."""
        if self._is_running(job):
            job.resumes = job.control.is_pausing
        elif job.status == "paused":
            self._requeue(job)

    def _requeue(self, job: RunJob) -> None:
        job.resumes = False
        job.writer.acquire()
        job.control = Control()
        self._enqueue(job)

    def _set_idle(self, job: RunJob, status: Status) -> None:
        """Pauses or ends a job that doesn't train now and whose lock is held."""
        park(job.run, job.writer, job.report, status)
        if status == "paused":
            job.writer.release()
        else:
            state = job.run.written_state()
            self._end(job, result_of(job.run, state) if state and state.step else None, None)

    def _end(self, job: RunJob, result: TrainingResult | None, error: Exception | None) -> None:
        job.writer.release()
        self._jobs.pop(job.run.folder, None)
        job.end(result, error)

    def _start_next(self, device: str) -> None:
        queue = self._queues.get(device, [])
        if device in self._running or not queue:
            return
        job = queue.pop(0)
        self._running[device] = job
        job.thread = threading.Thread(
            target=self._work, args=(job,), name=f"ltxv-train {job.name}", daemon=True
        )
        job.thread.start()

    def _work(self, job: RunJob) -> None:
        result: TrainingResult | None = None
        error: Exception | None = None
        try:
            if job.before_training is not None:
                job.before_training()
            result = job.train(job.plan, job.writer, job.report, job.control)
        except Exception as raised:
            error = raised.with_traceback(None)
            if job.status in ("queued", "running"):  # nothing has written the failure yet
                logger.exception("run %s failed", job.name)
                if job.writer.holds_lock:  # else its state is another program's
                    park(job.run, job.writer, job.report, "failed", failure_of(raised))
        finally:
            self._hand_over(job, result, error)

    def _hand_over(
        self, job: RunJob, result: TrainingResult | None, error: Exception | None
    ) -> None:
        """Ends or pauses a job. The next one starts even if that fails."""
        with self._lock:
            del self._running[job.device]
            try:
                if job.status != "paused":
                    self._end(job, result, error)
                elif job.control.is_pausing:
                    job.writer.release()
                    if job.resumes:
                        self._requeue(job)
                else:  # stopped while it paused
                    self._set_idle(job, "stopped")
            except Exception as raised:
                logger.exception("run %s can't be paused or resumed", job.name)
                self._end(job, None, raised.with_traceback(None))
            finally:
                self._start_next(job.device)
