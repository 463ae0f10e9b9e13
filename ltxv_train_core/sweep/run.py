"""Runs a sweep: trains one run after another, ends the bad ones early, and ranks them."""

import json
import statistics
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ..config import TrainingConfig, build
from ..errors import Cancelled, ConfigurationError, LTXVTrainError
from ..events import (
    Control,
    Event,
    HeldOutMeasured,
    NeverStop,
    Notice,
    Progress,
    Reporter,
    StopSignal,
    ignore,
    raise_if_stopped,
)
from ..runs import RunFolder
from ..storage.atomic import sha256_json
from ..storage.paths import as_path
from ..storage.reading import read_json
from .result import FORMAT, Outcome, SweepResult, Trial
from .search import Method, Search, search_of
from .space import Dimension, as_sections, read_space

FOLDER = "sweeps"
PHASE = "sweep"
LEAST_OTHERS = 3
"""Runs that must have come as far before one is ended early."""
LEAST_SHARE = 0.25
"""Of its steps, that each run makes: the loss falls fastest there, and says least."""
LARGEST_RECORD_BYTES = 2**24

TrainOne = Callable[[TrainingConfig, Reporter, Control], RunFolder]
"""Trains a run, or finds the finished one; its folder. What it reports has the measurements."""


def run_sweep(
    config: TrainingConfig,
    vary: str,
    method: Method = "grid",
    trials: int = 0,
    seed: int = 0,
    ends_early: bool = True,
    report: Reporter = ignore,
    stop: StopSignal | None = None,
    train_one: TrainOne | None = None,
) -> tuple[SweepResult, Path]:
    """Trains runs that differ in some options.

    All measure the same held-out clips with the same noise. A run is ended when its best loss so far is worse than
    the median of what the others had at that step (the median stopping rule of Golovin et al. 2017). A sweep that
    was stopped goes on where it was; finished runs are not trained again.

    Args:
        vary: a line for each option, see `space.read_space`.
        trials: how many runs; 0: all of a grid.
        train_one: trains in this process, where it isn't given.

    Returns:
        All runs, and the folder with table, numbers and chart.

    Raises:
        ConfigurationError: what is varied, or the configuration, can't be used.
        Cancelled: it was stopped; the folder has what was found until then.
    """
    stop = stop or NeverStop()
    space = read_space(vary)
    _require_measure(config)
    search = search_of(method, space, trials, seed)
    _require_usable(config, space, search, method)
    folder = _folder(config, vary, method, trials, seed, ends_early)
    sweep = _Sweep(config, search, folder, ends_early, report, stop, train_one or _train_here)
    return sweep.run(), folder


class _Sweep:
    def __init__(
        self,
        config: TrainingConfig,
        search: Search,
        folder: Path,
        ends_early: bool,
        report: Reporter,
        stop: StopSignal,
        train_one: TrainOne,
    ):
        self.config, self.search, self.folder = config, search, folder
        self.ends_early, self.report, self.stop = ends_early, report, stop
        self.train_one = train_one
        self.done: list[Trial] = []

    def run(self) -> SweepResult:
        before = _recorded(self.folder)
        for number in range(self.search.count):
            self.report(Progress(PHASE, number, self.search.count, "run"))
            values = dict(self.search.ask(number))
            earlier = before.get(number)
            if earlier is not None and earlier.values == json.loads(json.dumps(values)):
                trial = earlier
            else:
                trial = self._trained(number, values)
            if trial.measured:
                self.search.tell(number, trial.best[1])
            self.done.append(trial)
            self._result().write(self.folder)
        self.report(Progress(PHASE, self.search.count, self.search.count, "run"))
        return self._result()

    def _result(self) -> SweepResult:
        steps = self.config.optimization.steps
        return SweepResult(tuple(self.done), steps, self.search.count - len(self.done))

    def _trained(self, number: int, values: dict[str, Any]) -> Trial:
        raise_if_stopped(self.stop)
        told = ", ".join(f"{name} {value}" for name, value in values.items())
        self.report(Notice(f"run {number + 1} of {self.search.count}: {told}"))
        control = _Ending(
            self.stop, self.done if self.ends_early else (), self.config.optimization.steps
        )
        try:
            run = self.train_one(variant(self.config, values), self._watching(control), control)
        except (LTXVTrainError, Cancelled) as error:
            raise_if_stopped(self.stop)
            self.report(Notice(f"run {number + 1} failed: {error}", is_problem=True))
            return Trial(number, values, "", "failed", (), str(error).partition("\n")[0])
        raise_if_stopped(self.stop)
        measured = tuple((each.step, each.loss) for each in run.held_out())
        if control.why:
            self.report(Notice(f"run {number + 1} ended early: {control.why}"))
        outcome: Outcome = "ended early" if control.why else "finished"
        return Trial(number, values, run.name, outcome, measured, control.why)

    def _watching(self, control: "_Ending") -> Reporter:
        def report(event: Event) -> None:
            self.report(event)
            if isinstance(event, HeldOutMeasured):
                control.look(event.step, event.loss)

        return report


class _Ending(Control):
    """Stops a run when the sweep is stopped, or when the run is worse than most others were."""

    def __init__(self, stop: StopSignal, others: Sequence[Trial], steps: int):
        super().__init__()
        self._signal, self._others, self._steps = stop, others, steps
        self._best = float("inf")
        self.why = ""

    def is_set(self) -> bool:
        return super().is_set() or self._signal.is_set()

    def look(self, step: int, loss: float) -> None:
        """Compares what was measured with what the others had by that step."""
        self._best = min(self._best, loss)
        if not LEAST_SHARE * self._steps <= step < self._steps:
            return
        theirs = [_best_until(each, step) for each in self._others if _reaches(each, step)]
        if len(theirs) >= LEAST_OTHERS and self._best > (middle := statistics.median(theirs)):
            self.why = f"at step {step} its best loss {self._best:.4f} is above the median {middle:.4f} of the others"
            self.stop()


def _best_until(trial: Trial, step: int) -> float:
    return min(loss for at, loss in trial.measured if at <= step)


def _reaches(trial: Trial, step: int) -> bool:
    return any(at >= step for at, _ in trial.measured)


def _require_measure(config: TrainingConfig) -> None:
    if not config.data.holds_out:
        raise ConfigurationError(
            [
                "data.held_out_clips: a sweep compares runs by the loss of clips that they don't train on: set it to 4 "
                "or more"
            ]
        )


def _require_usable(
    config: TrainingConfig, space: Sequence[Dimension], search: Search, method: Method
) -> None:
    """Raises `ConfigurationError` for a value that no run of the sweep can have, before anything is trained.

    Two values that don't go together are told when it is their turn: the other runs are worth having.
    """
    if method == "tpe":  # what it asks for depends on what came before
        asked = [{each.name: value} for each in space for value in each.values or each.ends]
    else:
        asked = [dict(search.ask(number)) for number in range(search.count)]
    problems: dict[tuple[str, str], list[str]] = {}
    usable: set[tuple[str, str]] = set()
    for values in asked:
        keys = [(name, repr(value)) for name, value in values.items()]
        try:
            variant(config, values)
            usable.update(keys)
        except ConfigurationError as error:
            for key in keys:
                problems.setdefault(key, error.problems)
    lines = [line for key, found in problems.items() if key not in usable for line in found]
    if lines:
        raise ConfigurationError(list(dict.fromkeys(lines)))


def variant(config: TrainingConfig, values: dict[str, Any]) -> TrainingConfig:
    """The configuration with other values. Raises `ConfigurationError` for those that can't be."""
    sections = config.model_dump(mode="json", exclude_unset=True)
    for section, changed in as_sections(values).items():
        sections[section] = {**sections.get(section, {}), **changed}
    return build(TrainingConfig, sections)


def _folder(config: TrainingConfig, *how: object) -> Path:
    # Without defaults: options of later versions leave the folder where it is, so that a sweep goes on.
    key = sha256_json([config.model_dump(mode="json", exclude_defaults=True), *map(str, how)])[:12]
    return as_path(config.output_dir) / FOLDER / f"{config.name}-{key}"


def _recorded(folder: Path) -> dict[int, Trial]:
    """The runs that an earlier pass has finished, by number; none where that can't be read."""
    try:
        record = read_json(folder / "sweep.json", LARGEST_RECORD_BYTES)
        if record.get("format") != FORMAT:
            return {}
        trials = [Trial.read(each) for each in record["trials"]]
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return {}
    return {trial.number: trial for trial in trials if trial.outcome != "failed"}


def _train_here(config: TrainingConfig, report: Reporter, control: Control) -> RunFolder:
    from ..training.trainer import train

    return RunFolder(train(config, report, control).run_folder)
