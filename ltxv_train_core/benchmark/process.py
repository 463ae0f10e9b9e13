"""Measures in another process: what runs out of memory there, or crashes, ends no benchmark."""

from dataclasses import asdict
from pathlib import Path

from ..events import StopSignal
from ..jobs.helper_process import HelperEnded, HelperProcess
from .case import Case
from .measure import Measurement


def measuring_process(stop: StopSignal) -> HelperProcess:
    """Its greeting has the lines that say what it measures on, under `device`."""
    return HelperProcess(Path(__file__).with_name("worker.py"), stop)


def measured_by(process: HelperProcess, case: Case) -> Measurement:
    """Measures a case. After one that failed or ran out of memory the next has a new process.

    Raises:
        Cancelled: a stop was asked for; what was measured then is gone.
    """
    try:
        answer = process.ask(asdict(case))
    except HelperEnded as ended:
        return Measurement("failed", text=str(ended))
    found = Measurement(**{**answer, "seconds": tuple(answer["seconds"])})
    if found.outcome in ("out of memory", "failed"):
        process.end()
    return found
