"""Starts processes that are ended by this program alone, and ends them with all that they have started."""

import contextlib
import subprocess
import sys
from typing import Any

import psutil

TERM_SECONDS = 5.0
"""How long a launcher may take to end its processes itself; those of other hosts only it can reach."""


def detached() -> dict[str, Any]:
    """Options that keep Ctrl-C from the worker: this side stops it.

    On Windows, a worker of a program without a console would open one.
    """
    if sys.platform == "win32":
        flags = subprocess.CREATE_NEW_PROCESS_GROUP | subprocess.CREATE_NO_WINDOW
        return {"creationflags": flags}
    return {"start_new_session": True}


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
