"""Runs the checks one after another, within some minutes."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch

from ..errors import Cancelled, cut
from ..events import Control, Progress, Reporter, StopSignal, ignore, raise_if_stopped
from ..models.device import free_memory
from .bench import ON_ACCELERATOR, ON_CPU, Bench
from .checks import CHECKS, Skipped
from .names import NAMES


@dataclass(frozen=True)
class Verdict:
    """Of one check: what was seen, or what is wrong."""

    name: str
    outcome: Literal["works", "fails", "skipped"]
    text: str
    seconds: float

    def __str__(self) -> str:
        return f"{self.outcome:8}{self.name:20}{self.seconds:6.1f} s  {self.text}"


def check_device(
    device: torch.device,
    names: Sequence[str] = NAMES,
    minutes: float = 10.0,
    report: Reporter = ignore,
    stop: StopSignal | None = None,
) -> list[Verdict]:
    """Runs checks by name. None begins after so many minutes.

    Raises:
        Cancelled: when it was stopped.
    """
    is_cpu = device.type == "cpu"
    control = Control.of(stop)
    bench = Bench(device, ON_CPU if is_cpu else ON_ACCELERATOR, ignore, control)
    ends, verdicts = time.monotonic() + 60 * minutes, []
    for number, name in enumerate(names):
        raise_if_stopped(control)
        report(Progress("check", number, len(names), "check", item=name))
        verdicts.append(_verdict(name, bench, is_late=time.monotonic() > ends))
    report(Progress("check", len(names), len(names), "check"))
    return verdicts


def _verdict(name: str, bench: Bench, is_late: bool) -> Verdict:
    began = time.monotonic()
    if is_late:
        return Verdict(name, "skipped", "there was no time left for it", 0.0)
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
