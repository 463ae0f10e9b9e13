"""The process that trains a run for another one; see subprocess_trainer.py.

It is started by its path, several by `accelerate launch`:

    python .../ltxv_train_core/jobs/worker.py RUN_FOLDER

By its own path it finds the package: inside ComfyUI the package has another name, and the Python that
comes with ComfyUI for Windows ignores PYTHONPATH.
"""

import os
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ltxv_train_core.events import Control, Event
    from ltxv_train_core.jobs.ipc import WorkerConnection
    from ltxv_train_core.training.distributed import Processes


def main(run_folder: str) -> int:
    """Trains the run, alone or as one of several processes; returns the exit code."""
    from ltxv_train_core import permissions
    from ltxv_train_core.errors import Cancelled, LTXVTrainError
    from ltxv_train_core.training.distributed import Processes
    from ltxv_train_core.training.trainer import follow_first

    permissions.join()
    rank = int(os.environ.get("RANK", "0"))
    try:
        if rank == 0:
            processes = _train(Path(run_folder))
        else:
            processes = Processes.join()
            follow_first(processes)
    except Cancelled:
        return 1
    except LTXVTrainError as error:
        who = f"[rank{rank}]: " if "WORLD_SIZE" in os.environ else ""  # as torch does
        print(f"{who}{error}", file=sys.stderr)
        return 1  # with which the launcher ends the others, who would wait for this one
    processes.leave()
    return 0


def _train(folder: Path) -> "Processes":
    """Trains the run. The state in its folder says how that ended."""
    from ltxv_train_core.errors import Cancelled, LTXVTrainError
    from ltxv_train_core.events import Control
    from ltxv_train_core.jobs.ipc import ADDRESS_VARIABLE, connect, to_message
    from ltxv_train_core.jobs.subprocess_trainer import LOCK_SECONDS
    from ltxv_train_core.runs import RunFolder, RunWriter
    from ltxv_train_core.runs.failures import failure_of
    from ltxv_train_core.training.distributed import Processes
    from ltxv_train_core.training.run_plan import plan_again
    from ltxv_train_core.training.trainer import interrupted, park, train_plan

    connection, control = connect(os.environ[ADDRESS_VARIABLE]), Control()
    connection.beat()
    threading.Thread(target=_listen, args=(connection, control), daemon=True).start()

    def report(event: "Event") -> None:
        try:
            connection.send(to_message(event))
        except OSError:
            control.stop()

    run = RunFolder(folder)
    with RunWriter(run).acquire(LOCK_SECONDS) as writer:
        try:
            processes = Processes.join(control)
            plan = plan_again(run, report)
            _require_count(plan.state.processes, processes)
        except Cancelled:
            park(run, writer, report, interrupted(control))
            raise
        except LTXVTrainError as error:
            park(run, writer, report, "failed", failure_of(error))
            raise
        train_plan(plan, writer, report, control, processes)
    return processes


def _require_count(wanted: int, processes: "Processes") -> None:
    from ltxv_train_core.errors import ConfigurationError

    if processes.count != wanted:
        raise ConfigurationError(
            [
                f"the launcher started {processes.count} processes, and this run is for {wanted}: "
                "choose as many, or let {processes} stand in the command of launcher.json"
            ]
        )


def _listen(connection: "WorkerConnection", control: "Control") -> None:
    """Takes requests. When the process that started this one has ended, the run stops."""
    actions = {"stop": control.stop, "pause": control.pause}
    for message in connection.messages():
        request = message["ask"]
        actions[request]() if request in actions else control.request(request)
    control.stop()


if __name__ == "__main__":
    # In the place of this script's folder, whose modules nobody should find. A Python that comes
    # with ComfyUI has put something else there.
    folder = Path(__file__).resolve().parent
    sys.path[:] = [str(folder.parents[1]), *(p for p in sys.path if Path(p).resolve() != folder)]
    sys.exit(main(sys.argv[1]))
