"""Runs as JSON for browsers; docs/rest.md gives the types."""

import math
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from ..ltxv_train_core.curves import curves
from ..ltxv_train_core.runs import LoRAFile, RunFolder, RunNotFoundError, RunState, SampleSet
from ..ltxv_train_core.runs.library import current_state
from .jobs import job_manager

if TYPE_CHECKING:
    from ..ltxv_train_core.jobs import JobManager


def summary(run: RunFolder, state: RunState) -> dict[str, Any]:
    """A run in a list."""
    manager = _manager_of(state)
    return {
        "name": run.name,
        **state.to_json(),
        "step": max(run.last_step(), state.step),
        "position": manager.position(run.name) if manager else None,
        "here": manager is not None and manager.find(run.name) is not None,
    }


def details(run: RunFolder) -> dict[str, Any]:
    """A run with its samples and LoRA files.

    Raises:
        RunNotFoundError: it was deleted, or its state is damaged.
    """
    state = current_state(run)
    if state is None:
        raise RunNotFoundError(f"run {run.name!r} has no state that can be read")
    return {
        **summary(run, state),
        "samples": [_samples(each) for each in run.sample_sets()],
        "loras": [_lora(each) for each in run.loras()],
    }


def metrics(run: RunFolder, since: int, points: int | None) -> dict[str, Any]:
    """The columns after a step, and the newest step as it was told."""
    rows = run.metrics(since)
    last = {name: _finite(value) for name, value in asdict(rows[-1]).items()} if rows else None
    return {"columns": asdict(curves(rows, points)), "last": last}


def configuration(run: RunFolder) -> dict[str, Any]:
    """The YAML as it lies in the folder, and every option with its value by dotted name."""
    sections = run.configuration().model_dump(mode="json")
    options: dict[str, Any] = {}
    for name, value in sections.items():
        if isinstance(value, dict):
            options |= {f"{name}.{option}": each for option, each in value.items()}
        else:
            options[name] = value
    return {"yaml": run.config_file.read_text(encoding="utf-8"), "options": options}


def _samples(samples: SampleSet) -> dict[str, Any]:
    folder = samples.sheet.parent.name
    return {
        "step": samples.step,
        "sheet": f"{folder}/{samples.sheet.name}",
        "videos": [f"{folder}/{path.name}" for path in samples.videos],
    }


def _lora(lora: LoRAFile) -> dict[str, Any]:
    return {
        "file": lora.path.name,
        "step": lora.step,
        "is_average": lora.is_average,
        "bytes": lora.path.stat().st_size,
    }


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _manager_of(state: RunState) -> "JobManager | None":
    """The manager, for a run that it may work on; asking it imports the trainer."""
    return job_manager() if state.status in ("queued", "running", "paused") else None
