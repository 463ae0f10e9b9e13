from dataclasses import asdict, dataclass
from pathlib import Path

from ..storage.atomic import write_json
from ..units import byte_size, duration

MEANING = {
    "stripes": "contrast of the stripes",
    "mirror": "overlap with the mirrored shape (IoU)",
    "overlap": "overlap with the mirrored shape (IoU)",
    "overlap_without_reference": "overlap where no reference is given (IoU)",
    "up": "share of videos that move up",
    "beep_db": "beep above the rest (dB)",
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


@dataclass(frozen=True)
class SoundDemoReport:
    """What the demo with sound measured.

    Attributes:
        score_before, score_after: `stripes`, the contrast of the stripes, and `beep_db`, how much louder
            the beep is where it should sound; of an IC-LoRA `overlap` with the mirrored shape, after training also
            without references.
        fidelity, fidelity_before: share of samples that show (background, colour, motion) and sound
            (pitch, glide or panning) as their prompt asks, after and before training.
        seconds: by phase, and in total.
        peak_memory_bytes: the most that the process held.
    """

    task: str
    score_before: dict[str, float]
    score_after: dict[str, float]
    fidelity: dict[str, float]
    fidelity_before: dict[str, float]
    seconds: dict[str, float]
    peak_memory_bytes: int
    lora_file: str

    def write(self, folder: Path) -> None:
        """Writes the report as report.json into a folder."""
        write_json(folder / "report.json", asdict(self))


def format_report(report: DemoReport | SoundDemoReport) -> str:
    """The report as a table."""
    if isinstance(report, SoundDemoReport):
        scores = [
            *((f"{MEANING[name]}, before", f"{v:.3f}") for name, v in report.score_before.items()),
            *((f"{MEANING[name]}, after", f"{v:.3f}") for name, v in report.score_after.items()),
        ]
        details: dict[str, float] = {}
    else:
        scores = [
            (f"{MEANING[report.task]}, before", f"{report.score_before:.3f}"),
            (f"{MEANING[report.task]}, after", f"{report.score_after:.3f}"),
        ]
        details = report.details
    rows = [
        *scores,
        *((f"{name} as in the prompt", f"{v:.2f}") for name, v in report.fidelity.items()),
        *((name.replace("_", " "), f"{v:.3f}") for name, v in details.items()),
        *((f"time, {name}", duration(v)) for name, v in report.seconds.items()),
        ("peak memory", byte_size(report.peak_memory_bytes)),
        ("LoRA", report.lora_file),
    ]
    width = max(len(name) for name, _ in rows)
    return "\n".join(f"{name:<{width}}  {value}" for name, value in rows)
