from dataclasses import asdict, dataclass
from pathlib import Path

from ..storage.atomic import write_json
from ..units import byte_size, duration

MEANING = {
    "stripes": "contrast of the stripes",
    "mirror": "overlap with the mirrored shape (IoU)",
    "up": "share of videos that move up",
}


@dataclass(frozen=True)
class DemoReport:
    """What the demo measured.

    Attributes:
        fidelity: share of samples after training that still show what the prompt asks for, by
            background, colour and motion.
        seconds: by phase, and in total.
        peak_memory_bytes: the most that the process held.
    """

    task: str
    score_before: float
    score_after: float
    fidelity: dict[str, float]
    details: dict[str, float]
    seconds: dict[str, float]
    peak_memory_bytes: int
    lora_file: str

    def write(self, folder: Path) -> None:
        """Writes the report as report.json into a folder."""
        write_json(folder / "report.json", asdict(self))


def format_report(report: DemoReport) -> str:
    """The report as a table."""
    rows = [
        (f"{MEANING[report.task]}, before", f"{report.score_before:.3f}"),
        (f"{MEANING[report.task]}, after", f"{report.score_after:.3f}"),
        *((f"{name} as in the prompt", f"{v:.2f}") for name, v in report.fidelity.items()),
        *((name.replace("_", " "), f"{v:.3f}") for name, v in report.details.items()),
        *((f"time, {name}", duration(v)) for name, v in report.seconds.items()),
        ("peak memory", byte_size(report.peak_memory_bytes)),
        ("LoRA", report.lora_file),
    ]
    width = max(len(name) for name, _ in rows)
    return "\n".join(f"{name:<{width}}  {value}" for name, value in rows)
