"""The process that checks; see `run.py`. It is started by its path, as `jobs/worker.py` is."""

import sys
from pathlib import Path


def main() -> None:
    """Answers the name of each check with its verdict."""
    from dataclasses import asdict

    from ltxv_train_core import permissions
    from ltxv_train_core.events import Control
    from ltxv_train_core.gpu_check.bench import Bench
    from ltxv_train_core.gpu_check.verdict import checked
    from ltxv_train_core.jobs.helper_process import serve
    from ltxv_train_core.models.device import default_device

    # It reads nothing but what it has written itself, in folders that no graph may name.
    grants = permissions.GrantFile(permissions.default_file())
    permissions.use(permissions.CommandLine(grants, leaves=False))
    bench = Bench.of(default_device(), Control())
    serve({}, lambda message: asdict(checked(message["name"], bench)))


if __name__ == "__main__":
    # In the place of this script's folder, as in `jobs/worker.py`.
    folder = Path(__file__).resolve().parent
    sys.path[:] = [str(folder.parents[1]), *(p for p in sys.path if Path(p).resolve() != folder)]
    main()
