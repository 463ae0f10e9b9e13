"""The process that trains a run for another one; see isolated.py. Started by its path:

    accelerate launch .../ltxv_train_core/jobs/worker.py RUN_FOLDER

Where it lies tells where the package is: inside ComfyUI it has another name, and a Python that comes
with ComfyUI looks at no PYTHONPATH.
"""

import os
import sys
import threading
from pathlib import Path


def main(run_folder: str) -> int:
    from ltxv_train_core.errors import Cancelled, LTXVTrainError
    from ltxv_train_core.processes import Processes
    from ltxv_train_core.trainer import follow_first

    processes = Processes.join()
    try:
        if processes.is_first:
            _train(Path(run_folder), processes)
        else:
            follow_first(processes)
    except Cancelled:
        pass
    except LTXVTrainError as error:
        print(error, file=sys.stderr)
    finally:
        processes.leave()
    return 0


def _train(folder: Path, processes) -> None:
    """Trains the run, which tells by its state how that ended."""
    from ltxv_train_core.events import Control
    from ltxv_train_core.jobs.isolated import LOCK_SECONDS
    from ltxv_train_core.jobs.link import VARIABLE, call, to_message
    from ltxv_train_core.plan import plan_again
    from ltxv_train_core.runs import RunFolder, RunWriter
    from ltxv_train_core.trainer import train_plan

    link, control = call(os.environ[VARIABLE]), Control()
    threading.Thread(target=_listen, args=(link, control), daemon=True).start()

    def report(event) -> None:
        try:
            link.send(to_message(event))
        except OSError:
            control.stop()

    run = RunFolder(folder)
    with RunWriter(run).acquire(LOCK_SECONDS) as writer:
        train_plan(plan_again(run, report), writer, report, control, processes)


def _listen(link, control) -> None:
    """Takes wishes. When the one who started this process is gone, the run stops."""
    actions = {"stop": control.stop, "pause": control.pause}
    for message in link.messages():
        wish = message["ask"]
        actions[wish]() if wish in actions else control.request(wish)
    control.stop()


if __name__ == "__main__":
    # In the place of this script's folder, whose modules nobody should find.
    sys.path[0] = str(Path(__file__).resolve().parents[2])
    sys.exit(main(sys.argv[1]))
