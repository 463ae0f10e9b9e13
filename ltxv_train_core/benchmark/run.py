"""Runs a benchmark, row by row."""

import time
from pathlib import Path

from ..errors import Cancelled
from ..events import NeverStop, Notice, Progress, Reporter, StopSignal, ignore, raise_if_stopped
from .grid import BenchmarkGrid
from .process import measured_by, measuring_process
from .report import BenchmarkReport, Row


def new_stem(folder: Path) -> Path:
    """Where a benchmark that begins now is written in a folder."""
    return folder / time.strftime("benchmark-%Y%m%d-%H%M%S")


def run_benchmark(
    grid: BenchmarkGrid, stem: Path, report: Reporter = ignore, stop: StopSignal | None = None
) -> BenchmarkReport:
    """Measures each combination, and writes `stem`.md and `stem`.json after each.

    A combination that runs out of memory, or can't be run on this device, is a row that says so.

    Raises:
        ConfigurationError: a value of the grid is wrong.
        Cancelled: it was stopped; the files have the rows until then.
    """
    stop = stop or NeverStop()
    cases = grid.cases()
    estimates = [case.estimate() for case in cases]
    rows: list[Row] = []
    with measuring_process(stop) as process:
        try:
            for number, case in enumerate(cases):
                raise_if_stopped(stop)
                report(Progress("benchmark", number, len(cases), "row", item=case.text))
                rows.append(Row(case, measured_by(process, case), estimates[number]))
                found = BenchmarkReport(
                    tuple(process.greeting.get("device", ())), rows, len(cases) - len(rows)
                )
                found.write(stem)
                report(Notice(rows[-1].text))
        except Cancelled:
            told = f"{stem}.md has the {len(rows)} rows that were measured"
            raise Cancelled(told if rows else "stopped before the first row") from None
    report(Progress("benchmark", len(cases), len(cases), "row"))
    return found
