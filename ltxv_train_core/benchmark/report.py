"""A benchmark as a table for people and as JSON for programs, to be shared as they are."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ..storage.atomic import write_json, write_text
from ..training.memory_estimate import TrainingBytes
from ..units import byte_size
from .case import Case
from .measure import Measurement
from .names import AUTOMATIC

FORMAT = 1
_HEAD = (
    *("model", "blocks", "clip", "tokens", "rank", "options", "attention"),
    *("s a step", "steps/s", "peak memory", "estimate"),
)


@dataclass(frozen=True)
class Row:
    """A case, what it gave, and what the estimate says of it."""

    case: Case
    found: Measurement
    estimate: TrainingBytes

    @property
    def nearness(self) -> str:
        """The estimate, in per cent of what was measured."""
        if not self.found.peak_bytes:
            return ""
        return f" ({self.estimate.total / self.found.peak_bytes:.0%})"

    @property
    def text(self) -> str:
        """In a line."""
        found = self.found
        if found.outcome != "measured":
            return ": ".join(filter(None, (self.case.text, found.outcome, found.text)))
        return f"{self.case.text}: {found.step_seconds:.3g} s a step, {byte_size(found.peak_bytes)}"

    def cells(self) -> tuple[str, ...]:
        """Of the table."""
        case, found = self.case, self.found
        attention = "" if case.attention == AUTOMATIC else case.attention
        if found.outcome == "measured":
            seconds = found.step_seconds
            gave = (f"{seconds:.3g}", f"{1 / seconds:.3g}", byte_size(found.peak_bytes))
        else:
            gave = (found.outcome, "", "")
        return (
            *(case.model, f"{case.blocks} of {case.all_blocks}", case.size),
            *(f"{sum(case.tokens.values()):,}", str(case.rank), case.options, attention),
            *(*gave, f"{byte_size(self.estimate.total)}{self.nearness}"),
        )

    def as_json(self) -> dict[str, Any]:
        """The same for programs."""
        case, found = asdict(self.case), asdict(self.found)
        del case["config"]
        return {
            **case,
            "blocks": self.case.blocks,
            "tokens": dict(self.case.tokens),
            **found,
            "estimate": asdict(self.estimate) | {"total": self.estimate.total},
        }


@dataclass(frozen=True)
class BenchmarkReport:
    """All rows so far.

    Attributes:
        device: lines that say what was measured on.
        missing: rows that were not measured, because it was stopped.
    """

    device: Sequence[str]
    rows: Sequence[Row]
    missing: int = 0

    @property
    def text(self) -> str:
        """In Markdown."""
        table = [_HEAD, *(row.cells() for row in self.rows)]
        widths = [max(len(cells[column]) for cells in table) for column in range(len(_HEAD))]
        lines = [
            "| " + " | ".join(f"{t:{w}}" for t, w in zip(cells, widths, strict=True)) + " |"
            for cells in table
        ]
        lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
        return "\n".join([*(f"- {line}" for line in self.device), "", *lines, "", *self._notes()])

    def as_json(self) -> dict[str, Any]:
        """The same for programs."""
        return {
            "format": FORMAT,
            "device": list(self.device),
            "missing": self.missing,
            "rows": [row.as_json() for row in self.rows],
        }

    def write(self, stem: Path) -> None:
        """Writes `stem`.md and `stem`.json."""
        write_text(stem.with_suffix(".md"), self.text + "\n")
        write_json(stem.with_suffix(".json"), self.as_json())

    def _notes(self) -> list[str]:
        """What the numbers are."""
        cases = [row.case for row in self.rows]
        lines = [
            "Random weights and clips. Seconds of a whole training step, the median of "
            f"{', '.join(sorted({str(case.steps) for case in cases}))}; batch "
            f"{', '.join(sorted({str(case.batch_size) for case in cases}))}. Peak memory is that of "
            "tensors on the device, weights included. In brackets the estimate as a share of it."
        ]
        if any(case.blocks < case.all_blocks for case in cases):
            lines.append(
                "Not all blocks were run: seconds, peak and estimate are for so many blocks, and not "
                "for the whole model."
            )
        if self.missing:
            lines.append(f"Stopped: {self.missing} more rows were not measured.")
        lines += [f"{row.case.text}: {row.found.text}" for row in self.rows if row.found.text]
        return [f"{line}\n" for line in lines]
