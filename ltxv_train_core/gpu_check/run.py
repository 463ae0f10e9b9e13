"""Runs the checks one after another, within some minutes."""

import time
from collections.abc import Sequence
from pathlib import Path

from ..events import Control, Progress, Reporter, StopSignal, ignore, raise_if_stopped
from ..jobs.helper_process import HelperEnded, HelperProcess, HelperTimeout
from ..models.device import default_device
from .names import NAMES
from .verdict import Verdict

_WORKER = Path(__file__).with_name("worker.py")
LIMIT_SECONDS = {"stop": 180.0, "compilation": 240.0}
USUAL_LIMIT_SECONDS = 120.0
"""Of a check on an accelerator, where it takes some seconds. One that hangs is ended, and the next one begins."""
ON_CPU = 10
"""Times as long."""


def check_device(
    names: Sequence[str] = NAMES,
    minutes: float = 10.0,
    report: Reporter = ignore,
    stop: StopSignal | None = None,
) -> list[Verdict]:
    """Runs checks by name, all of them within so many minutes.

    They run in a process of their own. One that crashes or hangs has a verdict, and the next one a new process.

    Raises:
        Cancelled: when it was stopped.
    """
    control = Control.of(stop)
    ends, verdicts = time.monotonic() + 60 * minutes, []
    with HelperProcess(_WORKER, control) as process:
        for number, name in enumerate(names):
            raise_if_stopped(control)
            report(Progress("check", number, len(names), "check", item=name))
            verdicts.append(_verdict(process, name, ends - time.monotonic()))
    report(Progress("check", len(names), len(names), "check"))
    return verdicts


def _verdict(process: HelperProcess, name: str, left: float) -> Verdict:
    """The verdict of a check, which has so many seconds at most."""
    if left <= 0:
        return Verdict(name, "skipped", "there was no time left for it", 0.0)
    slower = ON_CPU if default_device().type == "cpu" else 1
    limit = LIMIT_SECONDS.get(name, USUAL_LIMIT_SECONDS) * slower
    began = time.monotonic()
    try:
        return Verdict(**process.ask({"name": name}, min(limit, left)))
    except (HelperEnded, HelperTimeout) as error:
        seconds = time.monotonic() - began
        if isinstance(error, HelperTimeout) and left < limit:
            return Verdict(name, "skipped", "the time was over before it ended", seconds)
        return Verdict(name, "fails", str(error), seconds)
