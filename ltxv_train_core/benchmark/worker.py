"""The process that measures; see `process.py`. It is started by its path, as `jobs/worker.py` is."""

import os
import sys
from pathlib import Path


def main() -> int:
    """Says what the device is, then answers each case with its measurement."""
    from dataclasses import asdict

    from ltxv_train_core import permissions
    from ltxv_train_core.benchmark.case import Case
    from ltxv_train_core.benchmark.measure import measured
    from ltxv_train_core.gpu_check.run import described
    from ltxv_train_core.jobs.ipc import ADDRESS_VARIABLE, connect
    from ltxv_train_core.models.device import default_device

    permissions.join()
    connection = connect(os.environ[ADDRESS_VARIABLE])
    device = default_device()
    connection.send({"device": described(device)})
    for message in connection.messages():
        connection.send(asdict(measured(Case(**message), device)))
    return 0


if __name__ == "__main__":
    # In the place of this script's folder, as in `jobs/worker.py`.
    folder = Path(__file__).resolve().parent
    sys.path[:] = [str(folder.parents[1]), *(p for p in sys.path if Path(p).resolve() != folder)]
    sys.exit(main())
