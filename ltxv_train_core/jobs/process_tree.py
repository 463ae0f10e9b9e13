"""Ends a process with all that it has started."""

import contextlib
import subprocess

import psutil

TERM_SECONDS = 5.0
"""How long a launcher may take to end its processes itself; those of other hosts only it can reach."""


def end_tree(process: "subprocess.Popen[bytes]") -> None:
    """Ends a process and its descendants, also those that are suspended; returns when all are gone.

    The launchers of torch give each worker a session of its own, so a signal to the process group would
    not reach them.
    """
    found = _descendants(process.pid)
    process.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(TERM_SECONDS)
    for each in found:
        with contextlib.suppress(psutil.NoSuchProcess):
            each.kill()
    process.kill()
    process.wait()
    psutil.wait_procs(found, TERM_SECONDS)


def _descendants(pid: int) -> list[psutil.Process]:
    try:
        found: list[psutil.Process] = psutil.Process(pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []
    return found
