"""Runs the checks one after another, within some minutes."""

import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

from ..errors import Cancelled
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
    with _CheckingProcess(control) as process:
        for number, name in enumerate(names):
            raise_if_stopped(control)
            report(Progress("check", number, len(names), "check", item=name))
            verdicts.append(process.check(name, ends - time.monotonic()))
    report(Progress("check", len(names), len(names), "check"))
    return verdicts


class _CheckingProcess:
    def __init__(self, stop: StopSignal):
        self._stop = stop
        self._slower = ON_CPU if default_device().type == "cpu" else 1
        self._worker: HelperProcess | None = None

    def __enter__(self) -> "_CheckingProcess":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self._end()

    def check(self, name: str, left: float) -> Verdict:
        """The verdict of a check.

        Args:
            left: seconds for it and all that follow.

        Raises:
            Cancelled: a stop was asked for.
        """
        if left <= 0:
            return Verdict(name, "skipped", "there was no time left for it", 0.0)
        limit = LIMIT_SECONDS.get(name, USUAL_LIMIT_SECONDS) * self._slower
        began = time.monotonic()
        try:
            if self._worker is None:
                self._worker = HelperProcess(_WORKER)
                self._worker.hello(self._stop)
            return Verdict(**self._worker.ask({"name": name}, self._stop, min(limit, left)))
        except Cancelled:
            raise
        except (HelperEnded, HelperTimeout) as error:
            self._end()
            seconds = time.monotonic() - began
            if isinstance(error, HelperTimeout) and left < limit:
                return Verdict(name, "skipped", "the time was over before it ended", seconds)
            return Verdict(name, "fails", str(error), seconds)

    def _end(self) -> None:
        if self._worker is not None:
            self._worker.end()
            self._worker = None
