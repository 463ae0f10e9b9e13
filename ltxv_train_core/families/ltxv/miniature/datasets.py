"""Demo data sets: clips with captions to train on, and prompts to see what was learned. No torch."""

import csv
import io
import json
import random
from collections.abc import Callable, Container
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ....errors import DataError
from ....events import NeverStop, Progress, Reporter, StopSignal, ignore, raise_if_stopped
from ....media.write import write_video
from ....permissions import Ledger
from ....storage.atomic import write_json, write_text
from ....storage.reading import read_json
from .clips import FPS, ClipSpec, caption, random_spec, render
from .tasks import DATASETS, TASKS, Task

EVALUATION_PROMPTS = 16
_MIRRORED = {"left": "right", "right": "left", "up": "up", "down": "down"}


@dataclass(frozen=True, eq=False)
class EvalItem:
    """A prompt to sample with: its colour, shape and background are together in no clip.

    Attributes:
        spec: what the video should show, the task's style apart.
        prompt: without a trigger word.
        reference: frames uint8 [F, H, W, 3] for an IC-LoRA, or None.
    """

    spec: ClipSpec
    prompt: str
    reference: NDArray[np.uint8] | None


@dataclass(frozen=True)
class DemoDataset:
    """`metadata` is the data set's dataset.json; a .jsonl and a .csv lie beside it."""

    metadata: Path
    evaluation: tuple[EvalItem, ...]


def generate(
    name: str,
    output_dir: Path,
    clips: int | None = None,
    seed: int = 0,
    report: Reporter = ignore,
    stop: StopSignal | None = None,
) -> DemoDataset:
    """Draws a data set and writes it as mp4 files with metadata.

    The metadata's columns are `caption`, `media_path` and, for "mirror", `reference_path`, with
    paths relative to the file. The seed decides about clips and evaluation.

    Args:
        name: one of `DATASETS`.
        clips: how many; the task's own number by default.

    Raises:
        DataError: for an unknown name, less than one clip, or a folder with files of somebody else.
        NotAllowedError: the folder may not be written.
        Cancelled: when it was stopped.
    """
    stop = stop or NeverStop()
    task = _task(name)
    count = task.clips if clips is None else clips
    if count < 1:
        raise DataError(f"clips {count!r}: a data set needs at least 1")
    evaluation = evaluation_items(name, seed)
    rng = random.Random(f"{name} clips {seed}")
    reserved = {item.spec.combination for item in evaluation}

    def write_clip(file_name: str) -> dict[str, str]:
        return _write_clip(task, _draw(task, rng, reserved), output_dir, file_name)

    return DemoDataset(write_clips(output_dir, count, write_clip, report, stop), evaluation)


def write_clips(
    output_dir: Path,
    count: int,
    write_clip: Callable[[str], dict[str, str]],
    report: Reporter,
    stop: StopSignal,
) -> Path:
    """Writes clips and their metadata; returns the path of dataset.json.

    Args:
        write_clip: writes the clip of a file name and returns its row of metadata.

    Raises:
        DataError: the folder has files of somebody else.
        NotAllowedError: the folder may not be written.
        Cancelled: when it was stopped.
    """
    Ledger(output_dir).claim(lambda: _is_of_an_earlier_version(output_dir))
    rows = []
    for number in range(count):
        raise_if_stopped(stop)
        rows.append(write_clip(f"{number:03d}.mp4"))
        report(Progress("generate", number + 1, count, "clip"))
    return _write_metadata(output_dir, rows)


def _is_of_an_earlier_version(folder: Path) -> bool:
    try:
        rows = read_json(folder / "dataset.json")
        return all(row["media_path"] == f"videos/{i:03d}.mp4" for i, row in enumerate(rows))
    except (OSError, ValueError, KeyError, TypeError):
        return False


def evaluation_items(
    name: str, seed: int = 0, count: int = EVALUATION_PROMPTS
) -> tuple[EvalItem, ...]:
    """What `generate` with the same name and seed leaves out of its clips.

    Raises:
        DataError: for an unknown name.
    """
    task = _task(name)
    rng = random.Random(f"{name} evaluation {seed}")
    specs: dict[tuple[str, str, str], ClipSpec] = {}
    while len(specs) < count:
        spec = _draw(task, rng, specs)
        specs[spec.combination] = spec
    return tuple(EvalItem(s, _caption(task, s), _reference(task, s)) for s in specs.values())


def mirror(spec: ClipSpec) -> ClipSpec:
    """The spec whose clip is the given one's with left and right exchanged."""
    aside = -spec.aside if spec.motion in ("up", "down") else spec.aside
    return replace(spec, motion=_MIRRORED[spec.motion], aside=aside)


def _task(name: str) -> Task:
    if name not in TASKS:
        raise DataError(f"data set {name!r}: expected one of {', '.join(DATASETS)}")
    return TASKS[name]


def _caption(task: Task, spec: ClipSpec) -> str:
    return caption(spec, task.motion_in_caption)


def _reference(task: Task, spec: ClipSpec) -> NDArray[np.uint8] | None:
    return render(mirror(spec), "silhouette").frames if task.mirrored else None


def _draw(task: Task, rng: random.Random, reserved: Container[tuple[str, str, str]]) -> ClipSpec:
    """A random spec whose combination isn't reserved."""
    while True:
        spec = random_spec(rng)
        if spec.combination not in reserved:
            return spec if task.motion is None else replace(spec, motion=task.motion)


def _write_clip(task: Task, spec: ClipSpec, output_dir: Path, file_name: str) -> dict[str, str]:
    """Writes the clip and its reference; returns its row of metadata."""
    row = {"caption": _caption(task, spec), "media_path": f"videos/{file_name}"}
    write_video(output_dir / row["media_path"], render(spec, task.style).frames, FPS)
    reference = _reference(task, spec)
    if reference is not None:
        row["reference_path"] = f"references/{file_name}"
        write_video(output_dir / row["reference_path"], reference, FPS)
    return row


def _write_metadata(output_dir: Path, rows: list[dict[str, str]]) -> Path:
    table = io.StringIO()
    writer = csv.DictWriter(table, fieldnames=list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text(output_dir / "dataset.csv", table.getvalue())
    write_text(output_dir / "dataset.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    write_json(output_dir / "dataset.json", rows)
    return output_dir / "dataset.json"
