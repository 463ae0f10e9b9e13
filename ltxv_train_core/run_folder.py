"""A run on disk: named by what goes into it, so that the same job is found again.

<output_dir>/<name>-<fingerprint>/
    run.json                the state: step, steps, finished
    training_config.yaml
    metrics.jsonl           one line per step
    checkpoints/000100/     full state to resume from
    loras/<run>-000100.safetensors, and -000100-ema.safetensors where an average is kept
    samples/000100/
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from .adapters.start import find_start
from .config import TrainingConfig, yaml_file
from .events import StepCompleted
from .files import sha256_file, sha256_json, write_json, write_text

RESULT_DOES_NOT_DEPEND_ON = {
    "name",
    "output_dir",
    "data",
    "validation",
    "checkpoints",
    "hub",
    "trackers",
}
MODEL_OPTIONS = ("model_source", "text_encoder_source", "vae_source")  # the identity says it
RESULT_DOES_NOT_CHANGE = {
    "compile_with_inductor",
    "compilation_mode",
    "load_text_encoder_in_8bit",
    "blocks_to_offload",
}


def fingerprint(config: TrainingConfig, data: str, model: str) -> str:
    """Twelve letters that change when anything changes that the result depends on.

    Args:
        data: the data set's fingerprint. A LoRA to start from counts by its content too.
        model: the base model's identity.
    """
    values = config.model_dump(mode="json", exclude=RESULT_DOES_NOT_DEPEND_ON)
    values["acceleration"] = {
        k: v for k, v in values["acceleration"].items() if k not in RESULT_DOES_NOT_CHANGE
    }
    for option in MODEL_OPTIONS:
        values["model"].pop(option)
    if config.model.load_checkpoint is not None:
        start = find_start(Path(config.model.load_checkpoint), config.model.training_mode)
        values["model"]["load_checkpoint"] = sha256_file(start)
    return sha256_json([values, data, model])[:12]


@dataclass(frozen=True)
class RunFolder:
    """Where the parts of a run lie."""

    folder: Path

    @classmethod
    def of(cls, config: TrainingConfig, data: str, model: str) -> "RunFolder":
        return cls(config.output_path / f"{config.name}-{fingerprint(config, data, model)}")

    @property
    def name(self) -> str:
        return self.folder.name

    @property
    def checkpoints(self) -> Path:
        return self.folder / "checkpoints"

    @property
    def config_file(self) -> Path:
        return self.folder / "training_config.yaml"

    @property
    def metrics_file(self) -> Path:
        return self.folder / "metrics.jsonl"

    def samples(self, step: int) -> Path:
        return self.folder / "samples" / f"{step:06d}"

    def latest_sheet(self) -> Path | None:
        """The newest contact sheet of validation samples."""
        return max((self.folder / "samples").glob("*/sheet.png"), default=None)

    def lora_file(self, step: int) -> Path:
        return self.folder / "loras" / f"{self.name}-{step:06d}.safetensors"

    def ema_file(self, step: int) -> Path:
        return self.folder / "loras" / f"{self.name}-{step:06d}-ema.safetensors"

    def begin(self, config: TrainingConfig) -> None:
        yaml_file.save(config, self.config_file)

    def write_state(self, step: int, steps: int) -> None:
        write_json(
            self.folder / "run.json", {"step": step, "steps": steps, "finished": step == steps}
        )

    def is_finished(self, steps: int) -> bool:
        """Whether the last step was made and its LoRA is still there."""
        state = self.folder / "run.json"
        if not state.is_file():
            return False
        finished = json.loads(state.read_text(encoding="utf-8"))["finished"]
        return bool(finished) and self.lora_file(steps).is_file()

    def metrics(self) -> list[StepCompleted]:
        """What was recorded of each step so far."""
        if not self.metrics_file.is_file():
            return []
        lines = self.metrics_file.read_text(encoding="utf-8").splitlines()
        return [StepCompleted(**json.loads(line)) for line in lines if line.endswith("}")]

    def keep_metrics_until(self, step: int) -> None:
        """Drops what was recorded after the step that a run goes on from."""
        kept = [json.dumps(asdict(m)) + "\n" for m in self.metrics() if m.step <= step]
        write_text(self.metrics_file, "".join(kept))

    def append_metrics(self, metrics: StepCompleted) -> None:
        with self.metrics_file.open("a", encoding="utf-8", newline="\n") as file:
            file.write(json.dumps(asdict(metrics)) + "\n")
