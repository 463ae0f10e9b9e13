"""A run on disk.

<output_dir>/<name>-<fingerprint>/          and -2, -3, ... where it was trained again
    run.json                the state, see state.py
    training_config.yaml
    graph.json              the ComfyUI graph that trains it, where one does
    metrics.jsonl           one line per step
    checkpoints/000100/     full state to go on from
    recovery/000150/        the same, newer than every checkpoint, while it trains
    loras/<run>-000100.safetensors, and -000100-ema.safetensors where an average is kept
    samples/000100/         one mp4 per prompt and sheet.png
<output_dir>/.locks/<run>.lock
"""

import json
import os
from bisect import bisect_right
from dataclasses import asdict, dataclass
from pathlib import Path

from ..config import TrainingConfig, yaml_file
from ..events import StepCompleted
from ..files import write_json, write_text
from .state import RunState

SHEET = "sheet.png"
STATE_FILE = "run.json"


@dataclass(frozen=True)
class SampleSet:
    """Validation samples of a step; `sheet` shows them all."""

    step: int
    videos: tuple[Path, ...]
    sheet: Path


@dataclass(frozen=True)
class LoRAFile:
    """The LoRA of a checkpoint, or with `is_average` of the averaged weights."""

    step: int
    path: Path
    is_average: bool


@dataclass(frozen=True)
class RunFolder:
    """Where the parts of a run lie, and what is in them."""

    folder: Path

    @property
    def name(self) -> str:
        return self.folder.name

    @property
    def lock_file(self) -> Path:
        """Beside the run, so that the whole folder can be deleted while the lock is held."""
        return self.folder.parent / ".locks" / f"{self.name}.lock"

    @property
    def checkpoints(self) -> Path:
        return self.folder / "checkpoints"

    @property
    def recovery(self) -> Path:
        return self.folder / "recovery"

    @property
    def config_file(self) -> Path:
        return self.folder / "training_config.yaml"

    @property
    def graph_file(self) -> Path:
        return self.folder / "graph.json"

    @property
    def metrics_file(self) -> Path:
        return self.folder / "metrics.jsonl"

    @property
    def failure_file(self) -> Path:
        """What another process than the first one failed with, before that one can tell of it."""
        return self.folder / "failure.json"

    def samples(self, step: int) -> Path:
        return self.folder / "samples" / f"{step:06d}"

    def lora_file(self, step: int) -> Path:
        return self.folder / "loras" / f"{self.name}-{step:06d}.safetensors"

    def ema_file(self, step: int) -> Path:
        return self.folder / "loras" / f"{self.name}-{step:06d}-ema.safetensors"

    def written_state(self) -> RunState | None:
        """What `run.json` says, or None where there is none that can be read."""
        try:
            text = (self.folder / STATE_FILE).read_text(encoding="utf-8")
            return RunState.from_json(json.loads(text))
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def write_state(self, state: RunState) -> None:
        write_json(self.folder / STATE_FILE, state.to_json())

    def configuration(self) -> TrainingConfig:
        """The configuration that it is trained with.

        Raises:
            ConfigurationError: it is missing or damaged.
        """
        return yaml_file.load(self.config_file)

    def graph(self) -> dict[str, str] | None:
        """The graph to put into its LoRA files."""
        if not self.graph_file.is_file():
            return None
        return json.loads(self.graph_file.read_text(encoding="utf-8"))

    def is_finished(self) -> bool:
        """Whether the last step was made and its LoRA is still there."""
        state = self.written_state()
        return (
            state is not None
            and state.status == "finished"
            and self.lora_file(state.steps).is_file()
        )

    def loras(self) -> list[LoRAFile]:
        """The LoRA files, by step; the average behind the trained weights."""
        found = []
        for path in (self.folder / "loras").glob(f"{self.name}-*.safetensors"):
            step, _, kind = path.stem[len(self.name) + 1 :].partition("-")
            if step.isdigit() and kind in ("", "ema"):
                found.append(LoRAFile(int(step), path, kind == "ema"))
        return sorted(found, key=lambda lora: (lora.step, lora.is_average))

    def sample_sets(self) -> list[SampleSet]:
        """The validation samples, by step."""
        return [
            SampleSet(int(sheet.parent.name), tuple(sorted(sheet.parent.glob("*.mp4"))), sheet)
            for sheet in sorted((self.folder / "samples").glob(f"*/{SHEET}"))
            if sheet.parent.name.isdigit()
        ]

    def sample_file(self, name: str) -> Path | None:
        """A file of the samples by its name "000100/sheet.png", looked up among those there are."""
        files = {
            f"{path.parent.name}/{path.name}": path
            for one in self.sample_sets()
            for path in (*one.videos, one.sheet)
        }
        return files.get(name)

    def latest_sheet(self) -> Path | None:
        """The newest contact sheet of validation samples."""
        return max((self.folder / "samples").glob(f"*/{SHEET}"), default=None)

    def metrics(self, since: int = 0) -> list[StepCompleted]:
        """What was recorded of each step after `since`."""
        lines = self._metric_lines()
        first = bisect_right(lines, since, key=_step_of)
        return [StepCompleted(**json.loads(line)) for line in lines[first:]]

    def last_step(self) -> int:
        """The last step that was made, whether or not a checkpoint has it."""
        try:
            with self.metrics_file.open("rb") as file:
                file.seek(max(0, file.seek(0, os.SEEK_END) - 2048))
                lines = file.read().decode("utf-8", "replace").split("\n")[:-1]
            return _step_of(lines[-1]) if lines else 0
        except (OSError, ValueError, KeyError):
            return 0

    def keep_metrics_until(self, step: int) -> None:
        """Drops what was recorded after the step that a run goes on from."""
        lines = self._metric_lines()
        kept = lines[: bisect_right(lines, step, key=_step_of)]
        write_text(self.metrics_file, "".join(f"{line}\n" for line in kept))

    def take_metrics_of(self, before: "RunFolder") -> None:
        """Begins with what was recorded of another run."""
        write_text(self.metrics_file, "".join(f"{line}\n" for line in before._metric_lines()))

    def append_metrics(self, metrics: StepCompleted) -> None:
        with self.metrics_file.open("a", encoding="utf-8", newline="\n") as file:
            file.write(json.dumps(asdict(metrics)) + "\n")

    def _metric_lines(self) -> list[str]:
        """The whole lines; the last one may be half written while a run trains."""
        if not self.metrics_file.is_file():
            return []
        lines = self.metrics_file.read_text(encoding="utf-8", errors="replace").splitlines()
        return [line for line in lines if line.startswith("{") and line.endswith("}")]


def _step_of(line: str) -> int:
    return int(json.loads(line)["step"])
