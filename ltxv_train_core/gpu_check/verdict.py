"""What a check has found."""

import time
from dataclasses import dataclass
from typing import Literal

from ..errors import Cancelled, cut
from ..models.device import free_memory
from .bench import Bench, Skipped
from .checks import CHECKS


@dataclass(frozen=True)
class Verdict:
    """Of one check: what was seen, or what is wrong."""

    name: str
    outcome: Literal["works", "fails", "skipped"]
    text: str
    seconds: float

    def __str__(self) -> str:
        return f"{self.outcome:8}{self.name:20}{self.seconds:6.1f} s  {self.text}"


def checked(name: str, bench: Bench) -> Verdict:
    """Runs a check in this process. Raises `Cancelled` when it was stopped."""
    began = time.monotonic()
    outcome: Literal["works", "fails", "skipped"] = "works"
    try:
        text = CHECKS[name](bench)
    except Cancelled:
        raise
    except Skipped as reason:
        outcome, text = "skipped", str(reason)
    except Exception as error:  # whatever a driver or a library raises is the verdict
        outcome, text = "fails", f"{type(error).__name__}: {cut(str(error), 300)}"
    free_memory()
    return Verdict(name, outcome, " ".join(text.split()), time.monotonic() - began)
