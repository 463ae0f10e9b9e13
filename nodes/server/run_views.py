"""Runs as JSON for browsers; docs/rest.md gives the types."""

import json
import math
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict

from ...ltxv_train_core.errors import LTXVTrainError
from ...ltxv_train_core.runs import LoRAFile, RunFolder, RunSummary, SampleSet
from ...ltxv_train_core.runs.best_step import best_step
from ...ltxv_train_core.runs.curves import curves
from ...ltxv_train_core.runs.held_out_file import HeldOutLosses
from .jobs import run_positions

_ELSEWHERE: dict[str, object] = {"position": None, "here": False}
_MAY_BE_HERE = ("queued", "running", "paused")


_last: tuple[Sequence[RunSummary], dict[str, int | None], bytes] = ([], {}, b"[]")
"""The list that was encoded last, with the positions in it."""


def list_as_json(runs: Sequence[RunSummary]) -> bytes:
    """A list of runs, encoded: what was encoded before is not encoded again."""
    global _last
    here = _positions(runs)
    runs_then, here_then, encoded = _last
    if runs is runs_then and here == here_then:
        return encoded
    ends = {name: b", " + _json(_place(name, here))[1:] for name in here}
    elsewhere = b", " + _json(_ELSEWHERE)[1:]
    pieces = [
        part for run in runs for part in (b", ", run.open_json, ends.get(run.name, elsewhere))
    ]
    encoded = b"".join([b"[", *pieces[1:], b"]"])
    _last = runs, here, encoded
    return encoded


def details(run: RunFolder, summary: RunSummary) -> dict[str, object]:
    """A run with its samples and LoRA files."""
    return {
        **summary.to_json(),
        **_place(run.name, _positions([summary])),
        "samples": [_samples(each) for each in run.sample_sets()],
        "loras": loras(run),
        "held_out": _held_out(run),
        "data_sets": _data_sets(run),
    }


def _held_out(run: RunFolder) -> dict[str, object] | None:
    """What was measured on clips that it doesn't train on, and its best step; None where there are none."""
    measured = run.held_out()
    best = best_step(measured)
    if best is None:
        return None
    return {
        "steps": [each.step for each in measured],
        "loss": [each.loss for each in measured],
        "average_loss": [_finite(each.average_loss) for each in measured],
        "moved": [each.moved for each in measured],
        "moved_without_prompt": [each.moved_without_prompt for each in measured],
        "levels": measured[-1].levels,
        "by_level": [each.by_level for each in measured],
        "by_data_set": _by_data_set(measured),
        "seconds": sum(each.seconds for each in measured),
        "best": {**asdict(best), "text": best.text},
    }


def _by_data_set(measured: Sequence[HeldOutLosses]) -> dict[str, list[float | None]]:
    """Of each data set, where the clips are of several, the mean over its clips at each measured step."""
    steps = [each.by_data_set for each in measured]
    names = dict.fromkeys(name for each in steps for name in each)
    return {name: [each.get(name) for each in steps] for name in names}


def _data_sets(run: RunFolder) -> list[str]:
    """Names of those that a run with several is trained on; of other runs, and where nobody can read it, none."""
    try:
        names = run.configuration().data.names
    except (LTXVTrainError, OSError):
        return []
    return list(names) if len(names) > 1 else []


def metrics(run: RunFolder, since: int, points: int | None) -> dict[str, object]:
    """The columns after a step, and the newest step as it was reported."""
    rows = run.metrics(since)
    last = {name: _finite(value) for name, value in asdict(rows[-1]).items()} if rows else None
    return {"columns": asdict(curves(rows, points)), "last": last}


def configuration(run: RunFolder) -> dict[str, object]:
    """The YAML as it lies in the folder, and every option with its value by dotted name."""
    sections = run.configuration().model_dump(mode="json")
    options: dict[str, object] = {}
    for name, value in sections.items():
        if isinstance(value, dict):
            options |= {f"{name}.{option}": each for option, each in value.items()}
        else:
            options[name] = value
    return {"yaml": run.configuration_text(), "options": options}


def voice(run: RunFolder) -> dict[str, object] | None:
    """What was found of its sound, when somebody listened to it."""
    from ...ltxv_train_core.voice.file import read_voice

    found = read_voice(run)
    return None if found is None else asdict(found)


def loras(run: RunFolder) -> list[dict[str, object]]:
    """Its LoRA files; one that is deleted meanwhile is skipped."""
    found = []
    for each in run.loras():
        with suppress(FileNotFoundError):
            found.append(_lora(each))
    return found


def _samples(samples: SampleSet) -> dict[str, object]:
    folder = samples.sheet.parent.name
    return {
        "step": samples.step,
        "sheet": f"{folder}/{samples.sheet.name}",
        "videos": [f"{folder}/{path.name}" for path in samples.videos],
    }


def _lora(lora: LoRAFile) -> dict[str, object]:
    return {
        "file": lora.path.name,
        "step": lora.step,
        "is_average": lora.is_average,
        "bytes": lora.path.stat().st_size,
    }


def _finite(value: float | tuple[float, ...]) -> object:
    if isinstance(value, tuple):
        return [_finite(each) for each in value]
    return value if math.isfinite(value) else None


def _positions(runs: Sequence[RunSummary]) -> dict[str, int | None]:
    """Positions of the runs that this ComfyUI works on."""
    is_asked = any(each.state.status in _MAY_BE_HERE for each in runs)
    return run_positions() if is_asked else {}


def _place(name: str, here: dict[str, int | None]) -> dict[str, object]:
    return {"position": here[name], "here": True} if name in here else _ELSEWHERE


def _json(value: dict[str, object]) -> bytes:
    return json.dumps(value).encode("ascii")
