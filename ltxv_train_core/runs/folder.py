"""A run on disk.

<output_dir>/<name>-<fingerprint>/          and -2, -3, ... where it was trained again
    run.json                the state, see state.py
    label.json              what a person calls it, and a note; not every run has one
    training_config.yaml
    graph.json              the ComfyUI graph that trains it, where one does
    machine.json            the device and versions that trained it last
    metrics.jsonl           one line per step
    held_out.jsonl          a line for each step whose loss on held-out clips was measured
    voice.json, voice.png   whether its sound was learned; not every run has them
    checkpoints/000100/     full state to resume from
    recovery/000150/        the same, newer than every checkpoint, while it trains
    weights/<run>-000100.safetensors, and -000100-ema.safetensors where an average is kept
    samples/000100/         one mp4 per prompt and sheet.png
<output_dir>/.locks/<run>.lock
"""

import itertools
import os
import re
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from ..config import TrainingConfig, build, yaml_file
from ..errors import ConfigurationError, LTXVTrainError, cut, shown
from ..events import StepCompleted
from ..storage.atomic import patiently, write_json
from ..storage.faults import DiskError, is_short_of_files
from ..storage.reading import parse_json, whole_number
from .held_out_file import HeldOutLosses, append_losses, read_losses, write_losses
from .label import Label, read_label, write_label
from .metrics_file import append_step, steps_after, write_steps
from .metrics_file import newest as newest_of
from .own_files import is_link, is_own_file, own_entries, own_files, read_own
from .state import RunState

SHEET = "sheet.png"
STATE_FILE = "run.json"

_MODEL_SOURCE = re.compile(r"^[ ]+model_source:[ ]+(\S.*?)\s*$", re.MULTILINE)
_DATA_SET = re.compile(r"^[ ]+preprocessed_data_root:[ ]+(\S.*?)\s*$", re.MULTILINE)

# Files of a run folder may come from somebody else.
LARGEST_STATE_BYTES = 2**16
LARGEST_GRAPH_BYTES = 2**25
MOST_MACHINE_LINES = 10
LARGEST_CONFIGURATION_BYTES = 2**22

_counter = itertools.count(1)
_states_written = 0


def states_written() -> int:
    """How often this process has written the state of a run."""
    return _states_written


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
    """The folder of a run: paths of its parts, and reading and writing them."""

    folder: Path

    @property
    def name(self) -> str:
        """Name of the run, which is its folder's."""
        return self.folder.name

    @property
    def lock_file(self) -> Path:
        """Beside the run, so that the whole folder can be deleted while the lock is held."""
        return self.folder.parent / ".locks" / f"{self.name}.lock"

    @property
    def checkpoints(self) -> Path:
        """Folders of the full state, one for each checkpoint."""
        return self.folder / "checkpoints"

    @property
    def recovery(self) -> Path:
        """Folders of the full state that are newer than every checkpoint, while the run trains."""
        return self.folder / "recovery"

    @property
    def config_file(self) -> Path:
        """The configuration as YAML."""
        return self.folder / "training_config.yaml"

    @property
    def graph_file(self) -> Path:
        """The ComfyUI graph that trains the run; not every run has one."""
        return self.folder / "graph.json"

    @property
    def machine_file(self) -> Path:
        """What trained it last; earlier versions wrote none."""
        return self.folder / "machine.json"

    @property
    def metrics_file(self) -> Path:
        """One line of JSON for each step."""
        return self.folder / "metrics.jsonl"

    @property
    def held_out_file(self) -> Path:
        """What was measured on clips that the run doesn't train on; not every run has some."""
        return self.folder / "held_out.jsonl"

    @property
    def failure_file(self) -> Path:
        """The failure of another process than the first one, see `failures.leave_failure`."""
        return self.folder / "failure.json"

    def samples(self, step: int) -> Path:
        """The folder of the validation samples of a step."""
        return self.folder / "samples" / f"{step:06d}"

    @property
    def weights(self) -> Path:
        """The trained weights of every checkpoint: LoRA files, or whole transformers."""
        return self.folder / "weights"

    def lora_file(self, step: int) -> Path:
        """The trained weights of a step: a LoRA, or in full training a transformer."""
        return self.weights / f"{self.name}-{step:06d}.safetensors"

    def ema_file(self, step: int) -> Path:
        """The averaged weights of a step."""
        return self.weights / f"{self.name}-{step:06d}-ema.safetensors"

    def require_no_links(self) -> None:
        """Raises `LTXVTrainError` where training would write through a link in this folder."""
        parts = (
            self.folder,
            self.checkpoints,
            self.recovery,
            self.weights,
            self.folder / "samples",
        )
        for path in (*parts, *(each for part in parts if part.is_dir() for each in part.iterdir())):
            if is_link(path):
                raise LTXVTrainError(
                    f"run {self.name}: {shown(path.relative_to(self.folder.parent).as_posix())} is a "
                    "link, and training would write where it leads; put what it leads to in its "
                    "place, or delete it"
                )

    def written_state(self) -> RunState | None:
        """What `run.json` says, or None where there is none that can be read.

        Raises:
            DiskError: too many files are open; that says nothing of the run.
        """
        try:
            return self.read_state()
        except DiskError:
            raise
        except (OSError, ValueError):
            return None

    def read_state(self) -> RunState:
        """What `run.json` says.

        Raises:
            OSError, ValueError: it can't be read.
            DiskError: too many files are open.
        """
        path = self.folder / STATE_FILE
        try:
            return RunState.from_json(patiently(lambda: read_own(path, LARGEST_STATE_BYTES)))
        except OSError as error:
            if is_short_of_files(error):
                raise DiskError(f"{path}: can't be read: {error.strerror}", error) from error
            raise

    def write_state(self, state: RunState) -> None:
        """Replaces `run.json`, atomically, and marks the folder of the runs as changed: who lists it need
        not look at each run."""
        write_json(self.folder / STATE_FILE, state.to_json())
        with suppress(OSError):
            os.utime(self.folder.parent)
        global _states_written
        _states_written = next(_counter)

    def configuration(self) -> TrainingConfig:
        """The configuration that it is trained with.

        Raises:
            ConfigurationError: it is missing or damaged.
        """
        sections = yaml_file.parse(self.configuration_text(), where=str(self.config_file))
        return build(TrainingConfig, sections)

    def configuration_text(self) -> str:
        """The configuration as it is written. Raises `ConfigurationError`: it can't be read."""
        try:
            return read_own(self.config_file, LARGEST_CONFIGURATION_BYTES)
        except OSError as error:
            problem = f"can't be read ({error.strerror})"
        except UnicodeDecodeError as error:
            problem = f"is not UTF-8 text ({error.reason} at byte {error.start})"
        raise ConfigurationError([f"{self.config_file}: {problem}"])

    def sources(self) -> tuple[str | None, str | None]:
        """The model that it trains and the data set, as its configuration names them; None for what can't
        be read."""
        try:
            text = self.configuration_text()
        except ConfigurationError:
            return None, None
        # A list asks hundreds of runs, and the parser takes ten milliseconds for each.
        model, data = _MODEL_SOURCE.search(text), _DATA_SET.search(text)
        return model and model[1].strip("'\""), data and data[1].strip("'\"")

    def label(self) -> Label:
        """What a person calls it; empty where nobody has said it."""
        return read_label(self.folder)

    def write_label(self, label: Label) -> None:
        """Names it, atomically; its folder keeps its name."""
        write_label(self.folder, self.folder / STATE_FILE, label)

    def graph(self) -> dict[str, str] | None:
        """The graph to put into its LoRA files; None where there is none that can be read."""
        try:
            graph = parse_json(read_own(self.graph_file, LARGEST_GRAPH_BYTES))
        except (OSError, ValueError):
            return None
        is_one = isinstance(graph, dict) and all(isinstance(each, str) for each in graph.values())
        return graph if is_one else None

    def machine(self) -> tuple[str, ...]:
        """Lines that say which device and which versions trained it last; none where that can't be read."""
        try:
            lines = parse_json(read_own(self.machine_file, LARGEST_STATE_BYTES))
        except (OSError, ValueError):
            return ()
        is_one = isinstance(lines, list) and all(isinstance(each, str) for each in lines)
        return tuple(cut(each, 300) for each in lines[:MOST_MACHINE_LINES]) if is_one else ()

    def is_finished(self) -> bool:
        """Whether the last step was made and its LoRA is still there."""
        state = self.written_state()
        return (
            state is not None
            and state.status == "finished"
            and is_own_file(self.lora_file(state.steps))
        )

    def loras(self) -> list[LoRAFile]:
        """The LoRA files, by step; the average behind the trained weights."""
        found = []
        for path in own_files(self.weights, ".safetensors"):
            if not path.name.startswith(f"{self.name}-"):
                continue
            number = path.stem[len(self.name) + 1 :]
            is_average = number.endswith("-ema")
            step = whole_number(number.removesuffix("-ema"))
            if step is not None:
                found.append(LoRAFile(step, path, is_average))
        return sorted(found, key=lambda lora: (lora.step, lora.is_average))

    def sample_sets(self) -> list[SampleSet]:
        """The validation samples, by step."""
        found = []
        for each in own_entries(self.folder / "samples"):
            step = whole_number(each.name)
            if step is None:
                continue
            files = own_files(Path(each.path), "")
            sheet = next((path for path in files if path.name == SHEET), None)
            if sheet is not None:
                videos = tuple(path for path in files if path.suffix == ".mp4")
                found.append(SampleSet(step, videos, sheet))
        return sorted(found, key=lambda samples: (samples.step, samples.sheet))

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
        sets = self.sample_sets()
        return sets[-1].sheet if sets else None

    def metrics(self, since: int = 0) -> list[StepCompleted]:
        """What was recorded of each step after `since`. Raises `OSError`: it can't be read."""
        return steps_after(self.metrics_file, since)

    def held_out(self) -> list[HeldOutLosses]:
        """What was measured on held-out clips, step by step. Raises `OSError`: it can't be read."""
        return read_losses(self.held_out_file)

    def last_step(self) -> int:
        """The last step that was made, whether or not a checkpoint has it."""
        newest = self.newest_metrics()
        return newest.step if newest else 0

    def newest_metrics(self) -> StepCompleted | None:
        """What was recorded of the last step that was made."""
        return newest_of(self.metrics_file)

    def keep_metrics_until(self, step: int) -> None:
        """Drops the metrics after the step that a run resumes from."""
        write_steps(self.metrics_file, [each for each in self.metrics() if each.step <= step])
        if measured := self.held_out():
            write_losses(self.held_out_file, [each for each in measured if each.step <= step])

    def take_metrics_of(self, before: "RunFolder") -> None:
        """Begins with what was recorded of another run, on held-out clips only where they are the same."""
        write_steps(self.metrics_file, before.metrics())
        now, then = self.written_state(), before.written_state()
        has_same_clips = now is not None and then is not None and now.data == then.data
        if has_same_clips and (measured := before.held_out()):
            write_losses(self.held_out_file, measured)

    def append_held_out(self, losses: HeldOutLosses) -> None:
        """Appends what was measured on held-out clips."""
        append_losses(self.held_out_file, losses)

    def append_metrics(self, metrics: StepCompleted) -> None:
        """Appends a step to the metrics."""
        append_step(self.metrics_file, metrics)
