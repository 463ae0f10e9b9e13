"""How the settings of the next run are chosen."""

import itertools
from collections.abc import Mapping, Sequence
from random import Random
from typing import Any, Literal, Protocol, get_args

from ..errors import ConfigurationError, install_command
from .space import Dimension

Method = Literal["grid", "random", "tpe"]
METHODS: tuple[Method, ...] = get_args(Method)
Values = Mapping[str, Any]
"""Options by dotted name."""

MOST_TRIALS = 256


class Search(Protocol):
    """Chooses settings one after another.

    Attributes:
        count: of runs.
    """

    count: int

    def ask(self, number: int) -> Values:
        """The settings of a run; called in order, from 0."""
        ...

    def tell(self, number: int, loss: float) -> None:
        """What came of it."""
        ...


def search_of(method: Method, space: Sequence[Dimension], trials: int, seed: int) -> Search:
    """
    Args:
        method: grid: every combination of listed values. random: drawn (Bergstra and Bengio 2012). tpe: drawn
            where earlier runs were good (Bergstra et al. 2011), by Optuna.
        trials: how many runs; of a grid all, where it is 0.

    Raises:
        ConfigurationError: a grid of a range, too many runs, or Optuna is not there.
    """
    if method == "grid":
        return Grid(space, trials)
    if not 1 <= trials <= MOST_TRIALS:
        raise ConfigurationError([f"trials: {trials}: expected 1 to {MOST_TRIALS}"])
    return (
        RandomSearch(space, trials, seed) if method == "random" else TPESearch(space, trials, seed)
    )


class Grid:
    """Every combination, the last option quickest."""

    def __init__(self, space: Sequence[Dimension], trials: int):
        if ranges := [each.name for each in space if not each.values]:
            raise ConfigurationError(
                [
                    f"vary: {name}: a grid needs listed values; or choose random or tpe"
                    for name in ranges
                ]
            )
        if trials < 0:
            raise ConfigurationError([f"trials: {trials}: expected 0 for all, or more"])
        names = [each.name for each in space]
        combined = itertools.product(*(each.values for each in space))
        found = list(itertools.islice(combined, MOST_TRIALS + 1))
        if len(found) > MOST_TRIALS and not 0 < trials <= MOST_TRIALS:
            raise ConfigurationError(
                [f"vary: more than {MOST_TRIALS} combinations: list fewer values, or choose random"]
            )
        self._values = [dict(zip(names, values, strict=True)) for values in found[: trials or None]]
        self.count = len(self._values)

    def ask(self, number: int) -> Values:
        """The combination of that number."""
        return self._values[number]

    def tell(self, number: int, loss: float) -> None:
        """Changes nothing."""


class RandomSearch:
    """Each run's settings depend on the seed and its number alone."""

    def __init__(self, space: Sequence[Dimension], trials: int, seed: int):
        self.space, self.count, self.seed = space, trials, seed

    def ask(self, number: int) -> Values:
        """Draws."""
        random = Random(f"{self.seed}/{number}")
        return {each.name: each.draw(random) for each in self.space}

    def tell(self, number: int, loss: float) -> None:
        """Changes nothing."""


class TPESearch:
    """Optuna's tree-structured Parzen estimator."""

    def __init__(self, space: Sequence[Dimension], trials: int, seed: int):
        try:
            import optuna
        except ImportError:
            raise ConfigurationError(
                [f"method: tpe needs Optuna: run `{install_command('optuna')}`; or choose random"]
            ) from None
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        sampler = optuna.samplers.TPESampler(seed=seed)
        self.space, self.count = space, trials
        self._study = optuna.create_study(sampler=sampler)
        self._trials: dict[int, Any] = {}

    def ask(self, number: int) -> Values:
        """Asks the study."""
        trial = self._trials[number] = self._study.ask()
        return {each.name: self._suggested(trial, each) for each in self.space}

    def tell(self, number: int, loss: float) -> None:
        """Tells the study."""
        self._study.tell(self._trials[number], loss)

    def _suggested(self, trial: Any, dimension: Dimension) -> Any:
        if dimension.values:
            # Optuna takes no lists as choices.
            texts = [repr(value) for value in dimension.values]
            return dimension.values[texts.index(trial.suggest_categorical(dimension.name, texts))]
        low, high, is_ratio = dimension.low, dimension.high, dimension.is_ratio
        if dimension.is_whole:
            return trial.suggest_int(dimension.name, round(low), round(high), log=is_ratio)
        return trial.suggest_float(dimension.name, low, high, log=is_ratio)
