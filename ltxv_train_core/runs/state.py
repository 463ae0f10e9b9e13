"""What `run.json` says of a run.

    queued -> running -> finished
      |         |-> paused, stopped, failed -> queued, running
      '-> stopped, failed

A finished run is trained again only when its LoRA is missing; `steps` raised make another run, that
continues it.
"""

from dataclasses import asdict, dataclass, replace
from datetime import datetime, timezone
from typing import Annotated, Any, Literal, TypeAlias, get_args

from pydantic import AfterValidator, Field, TypeAdapter, ValidationError

from ..errors import cut
from .fingerprint import DRAWN_BY_STEP, RECIPE

Status = Literal["queued", "running", "paused", "stopped", "failed", "finished"]
STATUSES: tuple[Status, ...] = get_args(Status)
ACTIVE = ("queued", "running")
"""Somebody holds the run's lock, or has died."""

STATE_VERSION = 1

MOST_TIME_NS = 2**62

MOST_STEPS = 1_000_000_000
"""More than a configuration can ask for, run after run."""

_NEXT: dict[Status, tuple[Status, ...]] = {
    "queued": ("queued", "running", "paused", "stopped", "failed"),
    "running": ("running", "queued", "paused", "stopped", "failed", "finished"),
    "paused": ("queued", "running", "stopped"),
    "stopped": ("queued", "running"),
    "failed": ("queued", "running"),
    "finished": ("queued", "running"),
}


def _require_time(text: str) -> str:
    datetime.fromisoformat(text)
    return text


_Count: TypeAlias = Annotated[int, Field(ge=0, le=MOST_STEPS)]
_Steps: TypeAlias = Annotated[int, Field(ge=1, le=MOST_STEPS)]
_Loss: TypeAlias = Annotated[float, Field(allow_inf_nan=False)]
_Time: TypeAlias = Annotated[str, Field(max_length=64), AfterValidator(_require_time)]


@dataclass(frozen=True)
class Failure:
    """Why a run failed.

    Attributes:
        kind: one word for programs, for example "out_of_memory".
        message: what happened.
        advice: what to do.
    """

    kind: str
    message: str
    advice: str

    def __str__(self) -> str:
        return f"{self.message}. {self.advice}"


@dataclass(frozen=True)
class RunState:
    """State of a run. Times are UTC, ISO 8601.

    Attributes:
        step: the step of the newest checkpoint; after a kill a recovery point may be newer.
        steps: its last step.
        created, updated, ended: when it was made, when this was written, when it last stopped
            training (None while it trains or waits).
        cause: why it failed, else None.
        fingerprint: of all that its result depends on.
        family: the same without the number of steps.
        data: the data set's fingerprint.
        continues: name of the run that it continues, or its path where it lies in another
            folder; `first_step` is that run's step.
        skipped_steps: steps that were skipped because their loss was NaN or infinite.
        processes: worker processes that train it together; 0: the process that started it.
        held_out_loss: the lowest that was measured on clips that it doesn't train on, where there are some.
        recipe: what its result depends on, see `fingerprint`; earlier versions wrote none.
    """

    status: Status
    step: _Count
    steps: _Steps
    created: _Time
    updated: _Time
    ended: _Time | None = None
    cause: Failure | None = None
    fingerprint: str = ""
    family: str = ""
    data: str = ""
    continues: str | None = None
    first_step: _Count = 0
    skipped_steps: _Count = 0
    processes: _Count = 0
    recipe: _Count = DRAWN_BY_STEP
    held_out_loss: _Loss | None = None

    @classmethod
    def new(cls, steps: int, **facts: Any) -> "RunState":
        """The state of a run that was just made."""
        time = now()
        return cls("queued", 0, steps, created=time, updated=time, recipe=RECIPE, **facts)

    def moved(self, status: Status, **changes: Any) -> "RunState":
        """The next state. A cause is only kept by `failed`."""
        assert status in _NEXT[self.status], f"{self.status} -> {status}"
        time = now()
        ended = None if status in ACTIVE else time
        values: dict[str, Any] = {"cause": None, "ended": ended, **changes}
        return replace(self, status=status, updated=time, **values)

    def to_json(self) -> dict[str, object]:
        """The state as `run.json` holds it."""
        return {"version": STATE_VERSION, **asdict(self)}

    @classmethod
    def from_json(cls, text: str) -> "RunState":
        """Reads a state; of a newer version, what is known here.

        Raises:
            ValueError: it is none; says in one line why.
        """
        try:
            return _STATE.validate_json(text, strict=True)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"]))
            raise ValueError(cut(f"{where}: {first['msg']}" if where else first["msg"])) from None

    @classmethod
    def damaged(cls, reason: str, step: int, time_ns: int) -> "RunState":
        """What is shown of a run whose own state can't be read; it can be deleted.

        Args:
            step: the last step that was made.
            time_ns: when the damaged state was written.
        """
        seconds = min(max(time_ns, 0), MOST_TIME_NS) / 1e9
        time = datetime.fromtimestamp(seconds, timezone.utc).isoformat(timespec="seconds")
        cause = Failure(
            "damaged",
            f"its run.json is damaged ({reason})",
            "Put it back, queue the same graph or configuration to write it again, or delete the run",
        )
        return cls("failed", step, max(1, step), time, time, time, cause)


_STATE = TypeAdapter(RunState)


def now() -> str:
    """The time in UTC, as ISO 8601 with whole seconds."""
    return datetime.now(timezone.utc).isoformat(timespec="seconds")
