"""What a recipe proposes."""

from dataclasses import dataclass
from typing import Any

from ..config import TrainingConfig
from ..training.memory_estimate import TrainingBytes
from ..units import byte_size, duration


@dataclass(frozen=True)
class Choice:
    """The value of an option, and why it has it.

    Attributes:
        option: "section.option".
        reason: a sentence, without its first capital and its full stop.
    """

    option: str
    value: Any
    reason: str

    @property
    def section(self) -> str:
        return self.option.partition(".")[0]

    @property
    def name(self) -> str:
        return self.option.partition(".")[2]


@dataclass(frozen=True)
class MeasuredTime:
    """How long the steps of a run take, from an earlier run on this machine.

    Attributes:
        seconds: all steps; samples, checkpoints and loading come on top.
        step_seconds: one of them.
        run: the earlier run's name.
    """

    seconds: float
    step_seconds: float
    run: str


@dataclass(frozen=True)
class Proposal:
    """A whole configuration, with reasons.

    Attributes:
        summary: what it is for, in a line.
        choices: the options that the recipe chose; given sections have none.
        memory: what the run is expected to take.
        card_bytes, usable_bytes: memory of the card, and how much of it a run may be expected to take.
        faster_bytes: what the next faster settings would take; None where these are the fastest.
        time: None where this machine has trained nothing like it.
        remarks: what the user should know.
    """

    summary: str
    configuration: TrainingConfig
    choices: tuple[Choice, ...]
    memory: TrainingBytes
    card_bytes: int
    usable_bytes: int
    faster_bytes: int | None = None
    time: MeasuredTime | None = None
    remarks: tuple[str, ...] = ()

    @property
    def seconds(self) -> float | None:
        """Expected for all steps; None where this machine has measured nothing like it."""
        return self.time.seconds if self.time else None

    @property
    def text(self) -> str:
        """Everything in lines: what it takes, remarks, and each choice with its reason."""
        remarks = [f"note: {remark}" for remark in self.remarks]
        return "\n".join([self.summary, self.memory_line, self.time_line, *remarks, *self.reasons])

    @property
    def reasons(self) -> list[str]:
        """Each choice in a line."""
        return [f"{c.option} = {_as_text(c.value)}: {c.reason}" for c in self.choices]

    @property
    def memory_line(self) -> str:
        """What the run is expected to take, in words."""
        parts = (
            ("base", self.memory.base),
            ("trained weights", self.memory.trained),
            ("activations", self.memory.activations),
        )
        faster = (
            ""
            if self.faster_bytes is None
            else f"; faster settings need {byte_size(self.faster_bytes)}"
        )
        return (
            f"memory: about {byte_size(self.memory.total)} ("
            + ", ".join(f"{name} {byte_size(size)}" for name, size in parts)
            + f") of {byte_size(self.card_bytes)}, of which a run may take {byte_size(self.usable_bytes)}{faster}"
        )

    @property
    def time_line(self) -> str:
        """How long its steps are expected to take, in words."""
        if self.time is None:
            return "time: not known, this machine has trained nothing like it yet"
        return (
            f"time: about {duration(self.time.seconds)} for "
            f"{self.configuration.optimization.steps:,} steps, as run {self.time.run} took "
            f"{self.time.step_seconds:.2f} s for each; samples and loading come on top"
        )


def _as_text(value: Any) -> str:
    """A value as YAML and widgets have it."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, dict):
        return ", ".join(f"{name} {number:g}" for name, number in value.items())
    if isinstance(value, tuple):
        is_size = all(isinstance(part, int) for part in value)
        return ("x" if is_size else ", ").join(map(str, value))
    return str(value)
