"""The process that measures; see `process.py`. It is started by its path, as `jobs/worker.py` is."""

import sys
from pathlib import Path


def main() -> None:
    """Says what the device is, then answers each case with its measurement."""
    from dataclasses import asdict

    from ltxv_train_core import permissions
    from ltxv_train_core.benchmark.case import Case
    from ltxv_train_core.benchmark.measure import measured
    from ltxv_train_core.jobs.helper_process import serve
    from ltxv_train_core.models.described import described
    from ltxv_train_core.models.device import default_device

    # It reads nothing but the noise that it has written itself, in a folder that no graph may name.
    grants = permissions.GrantFile(permissions.default_file())
    permissions.use(permissions.CommandLine(grants, leaves=False))
    device = default_device()
    serve({"device": described(device)}, lambda message: asdict(measured(Case(**message), device)))


if __name__ == "__main__":
    # In the place of this script's folder, as in `jobs/worker.py`.
    folder = Path(__file__).resolve().parent
    sys.path[:] = [str(folder.parents[1]), *(p for p in sys.path if Path(p).resolve() != folder)]
    main()
