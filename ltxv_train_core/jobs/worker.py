"""The process that trains a run for another one; see isolated.py. Started by its path, of several
by `accelerate launch`:

    python .../ltxv_train_core/jobs/worker.py RUN_FOLDER

Where it lies tells where the package is: inside ComfyUI it has another name, and a Python that comes
with ComfyUI looks at no PYTHONPATH.
"""

import os
import sys
import threading
from pathlib import Path


def main(run_folder: str) -> int:
    from ltxv_train_core import permissions
    from ltxv_train_core.errors import Cancelled, LTXVTrainError
    from ltxv_train_core.training.distributed import Processes
    from ltxv_train_core.training.trainer import follow_first

    permissions.join()
    processes = Processes.join()
    try:
        if processes.is_first:
            _train(Path(run_folder), processes)
        else:
            follow_first(processes)
    except Cancelled:
        pass
    except LTXVTrainError as error:
        who = f"[rank{processes.rank}]: " if processes.count > 1 else ""  # as torch does
        print(f"{who}{error}", file=sys.stderr)
        return 1  # with which the launcher ends the others, who would wait for this one
    processes.leave()
    return 0


def _train(folder: Path, processes) -> None:
    """Trains the run, which tells by its state how that ended."""
    from ltxv_train_core.errors import LTXVTrainError
    from ltxv_train_core.events import Control
    from ltxv_train_core.jobs.ipc import VARIABLE, call, to_message
    from ltxv_train_core.jobs.subprocess_trainer import LOCK_SECONDS
    from ltxv_train_core.runs import RunFolder, RunWriter
    from ltxv_train_core.runs.failures import cause_of
    from ltxv_train_core.training.run_plan import plan_again
    from ltxv_train_core.training.trainer import park, train_plan

    link, control = call(os.environ[VARIABLE]), Control()
    threading.Thread(target=_listen, args=(link, control), daemon=True).start()

    def report(event) -> None:
        try:
            link.send(to_message(event))
        except OSError:
            control.stop()

    run = RunFolder(folder)
    with RunWriter(run).acquire(LOCK_SECONDS) as writer:
        try:
            plan = plan_again(run, report)
        except LTXVTrainError as error:
            park(run, writer, report, "failed", cause_of(error))
            raise
        train_plan(plan, writer, report, control, processes)


def _listen(link, control) -> None:
    """Takes wishes. When the one who started this process is gone, the run stops."""
    actions = {"stop": control.stop, "pause": control.pause}
    for message in link.messages():
        wish = message["ask"]
        actions[wish]() if wish in actions else control.request(wish)
    control.stop()


if __name__ == "__main__":
    # In the place of this script's folder, whose modules nobody should find. A Python that comes
    # with ComfyUI has put something else there.
    folder = Path(__file__).resolve().parent
    sys.path[:] = [str(folder.parents[1]), *(p for p in sys.path if Path(p).resolve() != folder)]
    sys.exit(main(sys.argv[1]))
