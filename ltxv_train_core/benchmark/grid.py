"""What a benchmark measures: every combination of some values, as somebody has written them."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import TypeVar

from ..config import LoRAConfig, build
from ..errors import ConfigurationError, ModelError, shown
from ..families.family import Family
from ..geometry import VideoSize
from .case import Case, described
from .names import ATTENTION, AUTOMATIC, MODELS, NOTHING, sections_of

Value = TypeVar("Value")

ALL_BLOCKS = 0


@dataclass(frozen=True)
class BenchmarkGrid:
    """Values whose combinations are measured, one row for each.

    Attributes:
        models: see `names.MODELS`; also a file or folder on this machine, of which the sizes alone are read.
        sizes: of the clips, "WxHxF".
        ranks: of the LoRA.
        options: see `names.sections_of`.
        attention: see `names.ATTENTION`.
        blocks: how many of the model's are run; 0 for all.
        steps: of each row that are measured.
        batch_size: samples of a step.
    """

    models: Sequence[str]
    sizes: Sequence[str]
    ranks: Sequence[str]
    options: Sequence[str]
    attention: Sequence[str] = (AUTOMATIC,)
    blocks: int = ALL_BLOCKS
    steps: int = 5
    batch_size: int = 1

    def cases(self) -> list[Case]:
        """The rows, those of one model behind each other.

        Raises:
            ConfigurationError: with one line for each wrong value.
        """
        problems = _problems(
            (lambda: require_options(self.options)),
            (lambda: require_attention(self.attention)),
            (lambda: require_ranks(self.ranks)),
            (lambda: _require_counts(self.blocks, self.steps, self.batch_size)),
            *(lambda model=model: require_sizes(self.sizes, model) for model in self.models),
        )
        if problems:
            raise ConfigurationError(problems)
        found = []
        for model in self.models:
            about = described(model)
            if about.config is None:
                raise ModelError(f"model {shown(model)}: its sizes are not known on this machine")
            layers = about.config["num_layers"]
            assert type(layers) is int
            config = {**about.config, "num_layers": min(self.blocks or layers, layers)}
            for size, rank, options, attention in product(
                self.sizes, self.ranks, self.options, self.attention
            ):
                found.append(
                    Case(
                        model=Path(model).name,
                        family=about.family.name,
                        config=config,
                        all_blocks=layers,
                        size=str(VideoSize.parse(size)),
                        rank=int(rank),
                        options=options,
                        attention=attention,
                        batch_size=self.batch_size,
                        steps=self.steps,
                    )
                )
        return found


def default_grid(device_type: str) -> BenchmarkGrid:
    """What takes minutes on an accelerator. On a CPU, where the model would take hours, two of its blocks."""
    if device_type == "cpu":
        return BenchmarkGrid(
            models=MODELS[:1],
            sizes=("256x256x9", "256x256x25"),
            ranks=("32",),
            options=(NOTHING, "checkpointing", "int8-quanto"),
            blocks=2,
            steps=3,
        )
    return BenchmarkGrid(
        models=MODELS[:1],
        sizes=("512x512x49", "768x448x89"),
        ranks=("32",),
        options=(NOTHING, "checkpointing", "checkpointing+int8-quanto", "checkpointing+offload"),
    )


def require_sizes(sizes: Iterable[str], model: str) -> None:
    """Raises `ConfigurationError` for sizes that a model doesn't take."""
    family: Family = described(model).family
    _raise(*((lambda size=size: family.grid.require(VideoSize.parse(size))) for size in sizes))


def require_ranks(ranks: Iterable[str]) -> None:
    """Raises `ConfigurationError` for what is no rank."""

    def require(rank: str) -> None:
        if not rank.isdecimal():
            raise ConfigurationError([f"ranks: {shown(rank)}: expected a number, for example 32"])
        build(LoRAConfig, {"rank": int(rank)}, "ranks")

    _raise(*((lambda rank=rank: require(rank)) for rank in ranks))


def require_options(options: Iterable[str]) -> None:
    """Raises `ConfigurationError` for options that there are not."""
    _raise(*((lambda written=written: sections_of(written)) for written in options))


def require_attention(kernels: Iterable[str]) -> None:
    """Raises `ConfigurationError` for kernels that there are not."""
    unknown = [shown(name) for name in kernels if name not in ATTENTION]
    if unknown:
        raise ConfigurationError(
            [f"attention: {', '.join(unknown)}: expected some of {', '.join(ATTENTION)}"]
        )


def _require_counts(blocks: int, steps: int, batch_size: int) -> None:
    wrong = [
        f"{name}: {value}: expected {least} or more"
        for name, value, least in (
            ("blocks", blocks, 0),
            ("steps", steps, 1),
            ("batch_size", batch_size, 1),
        )
        if value < least
    ]
    if wrong:
        raise ConfigurationError(wrong)


def _raise(*attempts: Callable[[], object]) -> None:
    if problems := _problems(*attempts):
        raise ConfigurationError(problems)


def _problems(*attempts: Callable[[], object]) -> list[str]:
    found: list[str] = []
    for attempt in attempts:
        try:
            attempt()
        except ConfigurationError as error:
            found += error.problems
    return list(dict.fromkeys(found))
