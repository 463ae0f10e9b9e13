"""What a run's page says, and the page itself."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ... import __version__
from ...config import TrainingConfig, yaml_file
from ...config.redact import model_name, shareable
from ...datasets.cache import Cache
from ...datasets.index import data_folder, find_index, read_index
from ...datasets.summary import summarize
from ...errors import LTXVTrainError
from ...permissions import policy
from ...runs.best_step import best_step
from ...runs.curves import Curves, curves
from ...runs.folder import RunFolder
from ...runs.held_out_file import HeldOutLosses
from ...runs.smoothing import LossAverage
from ...storage.atomic import write_text
from ...storage.paths import as_path
from ...units import byte_size, duration
from ...voice.file import Voice, read_voice
from .drawing import Curve, Drawing, draw
from .samples import Samples, samples_of
from .voice import embedded_picture

TEMPLATE = "page.html"
_POINTS = 600
_SET_COLOURS = 6
"""That the page's style has for data sets; the seventh has the first one's again."""


@dataclass(frozen=True)
class RunPage:
    """What the template shows, under these names."""

    title: str
    facts: tuple[tuple[str, str], ...]
    best: str | None
    voice: Voice | None
    voice_picture: str | None
    loss: Drawing | None
    by_data_set: Drawing | None
    held_out: Drawing | None
    moved: Drawing | None
    samples: Samples
    data: tuple[str, ...]
    options: tuple[tuple[str, str], ...]
    yaml: str
    machine: tuple[str, ...]
    version: str = __version__


def report_html(run: RunFolder) -> str:
    """The page of a run, as far as it has come: one HTML file without scripts, which loads nothing.

    Paths, accounts, notes and the graph are left out; prompts, samples and the run's title are in it.

    Raises:
        LTXVTrainError: its configuration can't be read.
    """
    from jinja2 import Environment, FileSystemLoader

    loader = FileSystemLoader(Path(__file__).parent)
    environment = Environment(loader=loader, autoescape=True, trim_blocks=True, lstrip_blocks=True)
    return environment.get_template(TEMPLATE).render(page=page_of(run))


def write_report(run: RunFolder, path: Path) -> Path:
    """Writes the page of a run, atomically. Raises `LTXVTrainError` as `report_html`, `DiskError`."""
    policy().require_write(path)
    write_text(path, report_html(run))
    return path


def page_of(run: RunFolder) -> RunPage:
    """What the page of a run says."""
    config, metrics, measured = run.configuration(), run.metrics(), run.held_out()
    shared = shareable(config)
    best = best_step(measured)
    voice = read_voice(run)
    columns = curves(metrics, _POINTS)
    state = run.written_state()
    steps = state.steps if state else config.optimization.steps
    prompts = [
        p for p in config.validation.prompts for _ in range(config.validation.videos_per_prompt)
    ]
    seconds = sum(each.step_seconds for each in metrics)
    facts = [
        ("Trained", "a LoRA" if config.model.training_mode == "lora" else "every weight"),
        ("Base model", model_name(config.model.model_source)),
        ("State", f"{state.status}, step {state.step:,} of {steps:,}" if state else "unknown"),
    ]
    if metrics:
        facts.append(
            ("Training time", f"{duration(seconds)}, {seconds / len(metrics):.3g} s a step")
        )
        peaks = [each.memory_bytes for each in metrics if math.isfinite(each.memory_bytes)]
        if peaks:
            facts.append(("Peak memory", byte_size(max(peaks))))
    return RunPage(
        title=run.label().title or run.name,
        facts=tuple(facts),
        best=best.text if best else None,
        voice=voice,
        voice_picture=embedded_picture(run) if voice else None,
        loss=draw(list(_losses(columns)), steps),
        by_data_set=draw(list(_by_data_set(columns, config.data.names)), steps),
        held_out=draw(list(_held_out(measured)), steps, best.step if best else None),
        moved=draw(list(_moved(measured)), steps, best.step if best else None),
        samples=samples_of(run, prompts, best.step if best else None),
        data=_data_lines(config),
        options=tuple(_changed(shared)),
        yaml=yaml_file.dump(shared),
        machine=run.machine(),
    )


def _losses(columns: Curves) -> Iterator[Curve]:
    for name, kind, values in (
        ("loss", "raw", columns.loss),
        ("average", "smooth", columns.smooth_loss),
        ("video", "video", columns.video_loss),
        ("audio", "audio", columns.audio_loss),
    ):
        yield Curve(name, kind, list(zip(columns.step, values, strict=True)))


def _by_data_set(columns: Curves, names: Sequence[str]) -> Iterator[Curve]:
    """The average of each data set's losses, as long as it is trained on; nothing of a run with one."""
    for number, losses in enumerate(columns.loss_by_data_set):
        name = names[number] if number < len(names) else f"data set {number + 1}"
        average = LossAverage()
        pairs = zip(columns.step, losses, strict=True)
        points = [(step, average.add(loss)) for step, loss in pairs if loss is not None]
        yield Curve(name, _set_kind(number), points)


def _set_kind(number: int) -> str:
    return f"set-{number % _SET_COLOURS}"


def _held_out(measured: list[HeldOutLosses]) -> Iterator[Curve]:
    yield Curve("held-out clips", "smooth", [(each.step, each.loss) for each in measured])
    yield Curve("averaged weights", "video", [(each.step, each.average_loss) for each in measured])
    for number, name in enumerate(measured[-1].by_data_set if measured else ()):
        points = [(each.step, each.by_data_set.get(name)) for each in measured]
        yield Curve(name, f"part {_set_kind(number)}", points)


def _moved(measured: list[HeldOutLosses]) -> Iterator[Curve]:
    """How far predictions are from the base's, in per cent."""
    for name, kind, shares in (
        ("with captions", "smooth", [each.moved for each in measured]),
        ("without prompt", "video", [each.moved_without_prompt for each in measured]),
    ):
        steps = [each.step for each in measured]
        values = [None if share is None else 100 * share for share in shares]
        yield Curve(name, kind, list(zip(steps, values, strict=True)))


def _data_lines(config: TrainingConfig) -> tuple[str, ...]:
    """What the data sets hold, those behind the first one with how they are trained on."""
    lines = list(_lines_of(config.data.preprocessed_data_root))
    for line in config.data.further:
        what = line.options or "trained on like the first one"
        lines += [f"A further data set ({what}):", *_lines_of(line.root)]
    return tuple(lines)


def _lines_of(path: str) -> tuple[str, ...]:
    """What a data set holds; one line where it isn't here any more, or is no data set of ours."""
    root = as_path(path)
    try:
        policy().require_read(data_folder(root))
        index_file = find_index(root)
        index = read_index(index_file)
        return tuple(summarize(index, Cache(index_file.parent)).lines)
    except (LTXVTrainError, OSError):
        return ("The data set is not on this machine any more, or its contents are not listed.",)


def _changed(config: TrainingConfig) -> Iterator[tuple[str, str]]:
    """Options that don't have their default, by dotted name."""
    plain: dict[str, Any] = (
        type(config)
        .model_validate({"data": {"preprocessed_data_root": config.data.preprocessed_data_root}})
        .model_dump(mode="json")
    )
    for name, value in config.model_dump(mode="json").items():
        if not isinstance(value, dict):
            if value != plain[name]:
                yield name, str(value)
            continue
        for option, each in value.items():
            if each != plain[name][option]:
                yield f"{name}.{option}", str(each)
