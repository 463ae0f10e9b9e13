"""Which runs this process works on: one at a time for each device, the others wait in a queue."""

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
from ..runs.failures import cause_of
from ..training.run_plan import RunPlan, plan_again
from ..training.trainer import TrainingResult, begin, park, result_of
from .listeners import Listeners
from .run_job import RunJob
from .subprocess_trainer import how_to_train

Listener = Callable[[str, Event], None]
"""Called with a run's name and an event of it, from the thread that works on the run."""

logger = logging.getLogger("ltxv_train")


class JobManager:
    """All jobs of a process. Thread-safe; every call returns at once.

    A run is named by its folder's name. It holds the run's lock from the moment that it is queued,
    so that no other program takes it; a paused run's lock is free.
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
        make_room: Callable[[], None] | None = None,
    ) -> RunJob:
        """Queues a run, or joins it where it is queued or trained already; a paused one goes on.

        Args:
            plan: of a run that isn't finished.
            make_room: called in the job's thread, just before it begins to train.

        Raises:
            RunBusyError: another program trains it.
            LTXVTrainError: it says that it trains on from a run outside of its own folder.
        """
        if plan.start is not None and plan.start.folder.parent != plan.run.folder.parent:
            raise LTXVTrainError(
                f"run {plan.run.name} trains on from a run in another folder "
                f"({shown(str(plan.start.folder))}): resume it from a command line"
            )
        with self._lock:
            job = self._jobs.get(plan.run.folder)
            if job is not None:
                self._go_on(job)
                return job
            writer = RunWriter(plan.run).acquire()
            job = RunJob(plan, writer, how_to_train(plan), str(default_device()), make_room)
            job.listeners.add(partial(self._listeners, job.name))
            self._enqueue(job)
            self._jobs[plan.run.folder] = job
            return job

    def jobs(self) -> list[RunJob]:
        """Those that train, those that wait in the order of their turn, and the paused ones."""
        with self._lock:
            running = list(self._running.values())
            waiting = [job for queue in self._queues.values() for job in queue]
            rest = [j for j in self._jobs.values() if j not in running and j not in waiting]
            return running + waiting + rest

    def find(self, name: str) -> RunJob | None:
        """The job of a run, or None where nothing works on it here."""
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
        """Asks a run to write a checkpoint and give its memory back; `resume` goes on.

        Raises:
            LTXVTrainError: nothing works on it here.
        """
        with self._lock:
            job = self._find(name)
            if job in self._waiting(job):
                self._waiting(job).remove(job)
                self._put_aside(job, "paused")
            else:
                job.control.pause()

    def stop(self, name: str) -> None:
        """Asks a run to write a checkpoint and end.

        Raises:
            LTXVTrainError: nothing works on it here.
        """
        with self._lock:
            job = self._find(name)
            if job in self._waiting(job):
                self._waiting(job).remove(job)
                self._put_aside(job, "stopped")
            elif job.status == "paused" and not self._is_running(job):
                job.writer.acquire()
                self._put_aside(job, "stopped")
            else:
                job.goes_on = False
                job.control.stop()

    def stop_if_active(self, name: str) -> None:
        """The same, where it may have ended already."""
        with self._lock:
            if self.find(name) is not None:
                self.stop(name)

    def request(self, name: str, what: Request) -> None:
        """Asks a run for samples or a checkpoint after its current step.

        Raises:
            LTXVTrainError: it isn't being trained here.
        """
        job = self._find(name)
        if job.status != "running":
            raise LTXVTrainError(f"run {name} is {job.status}: only a running one can be asked")
        job.control.request(what)

    def resume(self, run: RunFolder, make_room: Callable[[], None] | None = None) -> RunJob:
        """Goes on with a paused, stopped or failed run, from the configuration on disk.

        A run that had processes of its own gets them again.

        This reads the data set's index and looks at the model: do not call it from an event loop.

        Args:
            make_room: as in `submit`.

        Raises:
            LTXVTrainError: it is finished, or its data, model or configuration can't be used.
        """
        with self._lock:
            job = self._jobs.get(run.folder)
            if job is not None:
                job.make_room = make_room or job.make_room
                self._go_on(job)
                return job
        plan = plan_again(run)
        if plan.is_finished:
            raise LTXVTrainError(f"run {run.name} is finished")
        return self.submit(plan, make_room)

    def subscribe(self, listener: Listener) -> Callable[[], None]:
        """Calls a listener with every event of every run; returns what ends that."""
        return self._listeners.add(listener)

    def pause_at_exit(self) -> None:
        """Pauses everything when the interpreter ends.

        Before the threads that read data end, which is earlier than `atexit`.
        """
        register = getattr(threading, "_register_atexit", atexit.register)
        register(self.shut_down)

    def shut_down(self, seconds: float = 60) -> None:
        """Pauses everything, and waits for checkpoints to be written."""
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
            raise LTXVTrainError(f"run {name!r} is neither trained nor waiting here")
        return job

    def _waiting(self, job: RunJob) -> list[RunJob]:
        return self._queues.setdefault(job.device, [])

    def _enqueue(self, job: RunJob) -> None:
        """Puts a job whose lock is held at the end of its queue."""
        try:
            begin(job.plan, job.writer, job.report)
        except BaseException:
            job.writer.release()
            raise
        self._waiting(job).append(job)
        self._start_next(job.device)

    def _is_running(self, job: RunJob) -> bool:
        """Whether its thread works, be it only to give the memory back."""
        return self._running.get(job.device) is job

    def _go_on(self, job: RunJob) -> None:
        """Queues a job that is paused, or about to be."""
        if self._is_running(job):
            job.goes_on = job.control.is_pausing
        elif job.status == "paused":
            self._requeue(job)

    def _requeue(self, job: RunJob) -> None:
        job.goes_on = False
        job.writer.acquire()
        job.control = Control()
        self._enqueue(job)

    def _put_aside(self, job: RunJob, status: Status) -> None:
        """Pauses or ends a job that isn't being trained and whose lock is held."""
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
            if job.make_room is not None:
                job.make_room()
            result = job.train(job.plan, job.writer, job.report, job.control)
        except Exception as raised:
            error = raised.with_traceback(None)
            if job.status in ("queued", "running"):  # it failed where nothing parks it
                logger.exception("run %s failed", job.name)
                if job.writer.holds_lock:  # else its state is another program's
                    park(job.run, job.writer, job.report, "failed", cause_of(raised))
        finally:
            self._hand_over(job, result, error)

    def _hand_over(
        self, job: RunJob, result: TrainingResult | None, error: Exception | None
    ) -> None:
        """Ends or puts aside a job; the next one gets its turn whatever comes of that."""
        with self._lock:
            del self._running[job.device]
            try:
                if job.status != "paused":
                    self._end(job, result, error)
                elif job.control.is_pausing:
                    job.writer.release()
                    if job.goes_on:
                        self._requeue(job)
                else:  # it was stopped while it made its pause
                    self._put_aside(job, "stopped")
            except Exception as raised:
                logger.exception("run %s can't be put aside or go on", job.name)
                self._end(job, None, raised.with_traceback(None))
            finally:
                self._start_next(job.device)
