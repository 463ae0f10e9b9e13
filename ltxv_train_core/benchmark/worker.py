"""The process that measures; see `process.py`. It is started by its path, as `jobs/worker.py` is."""

import os
import queue
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ltxv_train_core.jobs.ipc import WorkerConnection


def main() -> None:
    """Says what the device is, then answers each case with its measurement."""
    from dataclasses import asdict

    from ltxv_train_core import permissions
    from ltxv_train_core.benchmark.case import Case
    from ltxv_train_core.benchmark.measure import measured
    from ltxv_train_core.jobs.ipc import ADDRESS_VARIABLE, connect
    from ltxv_train_core.models.described import described
    from ltxv_train_core.models.device import default_device

    # It reads nothing but the noise that it has written itself, in a folder that no graph may name.
    grants = permissions.GrantFile(permissions.default_file())
    permissions.use(permissions.CommandLine(grants, leaves=False))
    connection = connect(os.environ[ADDRESS_VARIABLE])
    cases: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(connection, cases), daemon=True).start()
    device = default_device()
    connection.send({"device": described(device)})
    while True:
        connection.send(asdict(measured(Case(**cases.get()), device)))


def _listen(connection: "WorkerConnection", cases: "queue.SimpleQueue[dict[str, Any]]") -> None:
    """Takes cases. When the process that started this one has ended, nobody waits for an answer."""
    for message in connection.messages():
        cases.put(message)
    os._exit(0)


if __name__ == "__main__":
    # In the place of this script's folder, as in `jobs/worker.py`.
    folder = Path(__file__).resolve().parent
    sys.path[:] = [str(folder.parents[1]), *(p for p in sys.path if Path(p).resolve() != folder)]
    main()
