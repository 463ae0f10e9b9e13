"""Which run a configuration means: the one there is, or a new one."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from ..config import TrainingConfig
from ..datasets.dataset import TrainingDataset
from ..errors import ConfigurationError
from ..events import Notice, Reporter, StopSignal, ignore
from ..families.open import Model, open_model
from ..models.device import default_device
from ..permissions import policy
from ..permissions.launcher import launcher_profile
from ..runs import RunFolder, RunLibrary, RunNotFoundError, RunState, family, fingerprint
from ..runs.fingerprint import earlier_names
from ..storage.reading import whole_number
from . import checkpoint
from .parallel import gradient_problems, is_sharded, sharding_problems
from .preflight import require_ready


@dataclass(frozen=True)
class RunPlan:
    """A run that can be trained, with all that was found out about it.

    Attributes:
        state: the one it has, or the first one that it will have.
        start: the run whose newest checkpoint it continues, before it has one of its own.
        graph: the ComfyUI graph to put into the LoRA files, as `shareable_graph` gives it.
        steps: its last step.
    """

    config: TrainingConfig
    run: RunFolder
    dataset: TrainingDataset
    state: RunState
    start: RunFolder | None = None
    graph: Mapping[str, str] | None = None

    @property
    def steps(self) -> int:
        return self.state.steps

    @property
    def first_step(self) -> int:
        """The step that it begins from: 0, or the last one of the run that it continues."""
        before = self.start.written_state() if self.start else None
        return max(self.state.first_step, before.step if before else 0)

    @property
    def is_finished(self) -> bool:
        """Whether all its steps are made; one that has ended early may be wanted to go on."""
        written = self.run.written_state()
        return self.run.is_finished() and written is not None and written.steps == self.state.steps


def plan_run(
    config: TrainingConfig,
    report: Reporter = ignore,
    *,
    stop: StopSignal | None = None,
    again: bool = False,
    continue_from: RunFolder | None = None,
    processes: int = 0,
    graph: Mapping[str, str] | None = None,
) -> RunPlan:
    """Finds the run of a configuration; nothing is written, a missing model is downloaded.

    Args:
        stop: of a download.
        again: a finished run is left as it is, and another with the next number is made.
        continue_from: a finished run whose training this one carries on for
            `optimization.steps` more steps.
        processes: how many of their own train it together; 0: the one that runs now.
        graph: the ComfyUI graph to put into the LoRA files.

    Raises:
        LTXVTrainError: when configuration, data or model can't be used.
        Cancelled: when a download was stopped.
    """
    policy().require_write(config.output_path)
    _require_devices(processes)
    problems = gradient_problems(config) if processes > 1 else []
    problems += sharding_problems(config) if is_sharded(config, processes) else []
    if problems:
        raise ConfigurationError(problems)
    dataset, source = _open(config, report, stop)
    parent = _finished_state(continue_from) if continue_from else None
    stage = _stage(continue_from.name, parent.steps) if continue_from and parent else None
    parts = _parts(config, dataset, source, processes, stage)
    runs = RunLibrary(config.output_path).runs()
    run = _choose(config, runs, fingerprint(*parts), again)
    state = run.written_state()
    for name in earlier_names(fingerprint, *parts):
        if state is None:
            earlier = _choose(config, runs, name, again)
            state = earlier.written_state()
            run = run if state is None else earlier
    first_step = parent.steps if parent else 0
    if state is None:
        state = RunState.new(
            steps=first_step + config.optimization.steps,
            fingerprint=fingerprint(*parts),
            family=family(*parts),
            data=dataset.fingerprint(),
            first_step=first_step,
            processes=processes,
        )
        if continue_from is None and not again:
            families = (state.family, *earlier_names(family, *parts))
            continue_from = _longest_finished(config, runs, state, families)
        if continue_from is not None:
            state = replace(state, continues=_place(continue_from, config.output_path))
    else:
        state = replace(state, processes=processes)
        if state.steps < (whole := first_step + config.optimization.steps):
            state = replace(state, steps=_steps_of_ended(run, config, state.steps, whole))
        continue_from = continue_from or _start(run, state)
    return RunPlan(config, run, dataset, state, continue_from, graph)


def plan_again(run: RunFolder, report: Reporter = ignore) -> RunPlan:
    """The plan of a run that is on disk, from the files it has.

    Raises:
        LTXVTrainError: data or model can't be used, or are others than the run began with.
    """
    config, state = run.configuration(), run.written_state()
    if state is None:
        raise ConfigurationError([f"{run.folder}: its run.json is missing or damaged"])
    dataset, source = _open(config, report)
    is_stage = state.continues is not None and state.first_step > 0
    stage = _stage(Path(str(state.continues)).name, state.first_step) if is_stage else None
    parts = _parts(config, dataset, source, state.processes, stage)
    names = (fingerprint(*parts, recipe=state.recipe), *earlier_names(fingerprint, *parts))
    if state.fingerprint not in names:
        raise ConfigurationError(
            [
                f"run {run.name}: its data set, its model or a file that it starts from has "
                "changed since it began; queue its graph or configuration to make a new run, or "
                "put back what changed"
            ]
        )
    start = _start(run, state)
    if is_stage and start is None and not checkpoint.exists(run.checkpoints, run.recovery):
        raise ConfigurationError(
            [
                f"run {run.name}: run {state.continues}, which it continues, is gone; put it "
                "back, or queue a graph or configuration without it"
            ]
        )
    return RunPlan(config, run, dataset, state, start, run.graph())


def _steps_of_ended(run: RunFolder, config: TrainingConfig, steps: int, whole: int) -> int:
    """The last step of a run that has ended by itself: that step, or with another patience the one that it was to have."""
    try:
        before = run.configuration().optimization.early_stopping_patience
    except ConfigurationError:
        return steps
    return steps if before == config.optimization.early_stopping_patience else whole


def _require_devices(processes: int) -> None:
    """Every process needs an accelerator of its own; on a CPU they share it. Where they run on other
    machines, these are asked by nobody before."""
    if processes <= 1 or launcher_profile() is not None:
        return
    kind = default_device().type
    count = torch.cuda.device_count() if kind == "cuda" else processes if kind == "cpu" else 1
    if processes > count:
        raise ConfigurationError(
            [f"{processes} processes: this machine has {count} accelerators ({kind}); use as many"]
        )


def _open(
    config: TrainingConfig, report: Reporter, stop: StopSignal | None = None
) -> tuple[TrainingDataset, Model]:
    dataset = require_ready(config, report)
    for line in dataset.notices:
        report(Notice(line))
    return dataset, open_source(config, report, stop)


def open_source(
    config: TrainingConfig, report: Reporter = ignore, stop: StopSignal | None = None
) -> Model:
    """The base model of a configuration.

    Args:
        report, stop: of downloads, also of those that begin when a part is loaded.
    """
    model = config.model
    return open_model(model.model_source, report=report, stop=stop, **model.part_sources())


def _parts(
    config: TrainingConfig,
    dataset: TrainingDataset,
    source: Model,
    processes: int,
    stage: str | None,
) -> tuple[TrainingConfig, str, str, int, str | None, bool]:
    """What a run's fingerprint is made of."""
    data = dataset.fingerprint()
    return config, data, source.identity, processes, stage, dataset.has_one_size


def _stage(run: str, step: int) -> str:
    return f"{run} step {step}"


def _place(start: RunFolder, library: Path) -> str:
    """The name of a run of the same library; of another one its whole path."""
    folder = start.folder.resolve()
    return start.name if folder.parent == library.resolve() else str(folder)


def _start(run: RunFolder, state: RunState) -> RunFolder | None:
    """The run that one continues, where it still is."""
    if state.continues is None:
        return None
    place = Path(state.continues)
    library = RunLibrary(place.parent if place.is_absolute() else run.folder.parent)
    try:
        start = library.find(place.name if place.is_absolute() else state.continues)
    except RunNotFoundError:
        return None
    return start if start.written_state() else None


def _choose(config: TrainingConfig, runs: list[RunFolder], name: str, again: bool) -> RunFolder:
    """The newest run of a name, or with `again` the one after it, where it is finished."""
    base = f"{config.name}-{name}"
    numbers = {1: RunFolder(config.output_path / base)}
    for run in runs:
        number = whole_number(run.name.removeprefix(f"{base}-"))
        if run.name.startswith(f"{base}-") and number is not None:
            numbers[number] = run
    newest = max(numbers)
    if again and numbers[newest].is_finished():
        return RunFolder(config.output_path / f"{base}-{newest + 1}")
    return numbers[newest]


def _longest_finished(
    config: TrainingConfig, runs: list[RunFolder], state: RunState, families: tuple[str, ...]
) -> RunFolder | None:
    """The finished run that only differs in having fewer steps, the longest of them."""
    found = [
        (other.steps, run)
        for run in runs
        if run.name.startswith(f"{config.name}-")
        and (other := run.written_state()) is not None
        and other.status == "finished"
        and other.family in families
        and other.steps < state.steps
        and checkpoint.exists(run.checkpoints)
    ]
    return max(found, key=lambda each: each[0])[1] if found else None


def _finished_state(run: RunFolder) -> RunState:
    state = run.written_state()
    if state is None or state.status != "finished" or not checkpoint.exists(run.checkpoints):
        found = "no run" if state is None else f"{state.status} at step {state.step}"
        raise ConfigurationError(
            [
                f"continue_from {run.name!r}: expected a finished run with its checkpoints, found "
                f"{found}; train it to its end first"
            ]
        )
    return state
