"""A process that measures for this one: what runs out of memory there, or crashes, ends no benchmark."""

from dataclasses import asdict
from pathlib import Path
from types import TracebackType

from ..events import StopSignal
from ..jobs.helper_process import HelperEnded, HelperProcess
from .case import Case
from .measure import Measurement

_WORKER = Path(__file__).with_name("worker.py")


class MeasuringProcess:
    """Measures one case after another. After one that failed or ran out of memory the
    next has a new process.

    Attributes:
        device: lines that say what it measures on; empty before the first case.
    """

    def __init__(self, stop: StopSignal):
        self.device: tuple[str, ...] = ()
        self._stop = stop
        self._worker: HelperProcess | None = None

    def __enter__(self) -> "MeasuringProcess":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self._end()

    def measure(self, case: Case) -> Measurement:
        """Measures a case.

        Raises:
            Cancelled: a stop was asked for; what was measured then is gone.
        """
        try:
            if self._worker is None:
                self._worker = HelperProcess(_WORKER)
                self.device = tuple(self._worker.hello(self._stop)["device"])
            answer = self._worker.ask(asdict(case), self._stop)
        except HelperEnded as ended:
            self._end()
            return Measurement("failed", text=str(ended))
        except BaseException:
            self._end()
            raise
        found = Measurement(**{**answer, "seconds": tuple(answer["seconds"])})
        if found.outcome in ("out of memory", "failed"):
            self._end()
        return found

    def _end(self) -> None:
        if self._worker is not None:
            self._worker.end()
            self._worker = None
