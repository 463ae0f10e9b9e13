"""Folders of runs as strangers may hand them around: what is in them is damaged, or meant to harm."""

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from ltxv_train_core.config import TrainingConfig, yaml_file
from ltxv_train_core.runs import RunFolder, RunState
from tests.corpus.judge import SECRET

GOOD, BAD = "good-run", "bad-run"

VALUES = {
    "text": '"x"',
    "fraction": "1.5",
    "NaN": "NaN",
    "infinity": "-Infinity",
    "large": "1" + "0" * 400,
    "5000 digits": "9" * 5000,
    "exponent": "1e400",
    "negative": "-1",
    "true": "true",
    "null": "null",
    "list": "[1, [2]]",
    "object": '{"a": {}}',
    "digit": '"²"',
    "long": json.dumps("x" * 100_000),
    "deep": "[" * 50_000 + "]" * 50_000,
    "surrogate": '"\\ud800"',
    "lines": '"a\\nb\\u001b[2J<script>"',
    "up": '"../../.."',
}
"""Values of a field, as they stand in JSON."""

CONTENTS = {
    "empty": b"",
    "list": b"[]",
    "null": b"null",
    "no object": b'"finished"',
    "UTF-16": '{"status": "finished"}'.encode("utf-16"),
    "no text": bytes(range(256)),
    "zeros": bytes(4096),
    "half": b'{"status": "fini',
    "deep": b"[" * 200_000,
    "deep object": b'{"a":' * 100_000,
    "twice": b"{}{}",
    "megabytes": b'{"status": "' + b"x" * 2**22 + b'"}',
    "merge bomb": b"a: &a [x]\n"
    + b"".join(
        b"%c: &%c [*%c,*%c,*%c,*%c,*%c,*%c]\n" % (c + 1, c + 1, *[c] * 6) for c in range(97, 112)
    ),
}
"""Contents of a whole file."""

LINES = {
    "no object": "[]",
    "empty": "",
    "blank": "   ",
    "null": "null",
    "no JSON": "{step: 1}",
    "missing keys": '{"step": 3}',
    "text": '{"step": "3", "steps": 8, "loss": 1, "learning_rate": 1, "grad_norm": 1, "step_seconds": 1, "eta_seconds": 1}',
    "huge": '{"step": 3, "steps": 8, "loss": 1e308, "learning_rate": 1e308, "grad_norm": -1e308, "step_seconds": 1e308, "eta_seconds": 1}',
    "long": '{"step": 3, "x": "' + "x" * 100_000 + '"}',
    "deep": '{"step": ' + "[" * 2000 + "}",
    "zero": '{"step": 0, "steps": 0, "loss": 1, "learning_rate": 1, "grad_norm": 1, "step_seconds": 1, "eta_seconds": 1}',
    "digits": '{"step": ' + "9" * 4000 + "}",
}
"""Lines of metrics.jsonl that are no steps."""

FILES = ("run.json", "metrics.jsonl", "training_config.yaml", "graph.json", "failure.json")
KINDS = ("pipe", "folder", "endless", "secret", "socket", "dangling", "loop", "sparse")


def state(**changes: Any) -> dict[str, Any]:
    return RunState.new(8).moved("running").moved("finished", step=8).to_json() | changes


def row(step: int, loss: str = "0.5") -> str:
    """A good line of metrics.jsonl."""
    return (
        f'{{"step": {step}, "steps": 8, "loss": {loss}, "learning_rate": 0.001, "grad_norm": 0.5, '
        '"step_seconds": 0.1, "eta_seconds": 1.0}\n'
    )


def make_run(runs: Path, name: str) -> RunFolder:
    """A finished run with all that it can have."""
    run = RunFolder(runs / name)
    run.samples(4).mkdir(parents=True)
    run.weights.mkdir()
    run.write_state(RunState.from_json(json.dumps(state())))
    run.metrics_file.write_text("".join(map(row, range(1, 9))), encoding="utf-8")
    yaml_file.save(TrainingConfig(data={"preprocessed_data_root": "x"}), run.config_file)
    for file in (run.samples(4) / "sheet.png", run.samples(4) / "0.mp4", run.lora_file(8)):
        file.write_bytes(b"file")
    return run


def make_special(path: Path, kind: str, outside: Path) -> None:
    """Puts what is no ordinary file at a path; a secret lies outside."""
    if path.is_dir() and not path.is_symlink():
        raise AssertionError(path)
    path.unlink(missing_ok=True)
    outside.mkdir(exist_ok=True)
    (outside / "secret").write_text(f"{SECRET}\n", encoding="utf-8")
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    elif kind == "sparse":
        with path.open("wb") as file:
            file.truncate(2**30)
    elif kind == "socket":
        _bind(path)
    else:
        targets = {"endless": "/dev/zero", "secret": outside / "secret", "dangling": "nowhere"}
        path.symlink_to(targets.get(kind, path.name))


def _bind(path: Path) -> None:
    import socket

    before = Path.cwd()
    os.chdir(path.parent)  # the paths of sockets are short
    try:
        socket.socket(socket.AF_UNIX).bind(path.name)
    finally:
        os.chdir(before)


def states() -> Iterator[tuple[str, bytes]]:
    """Contents of run.json with one wrong field, by name."""
    for field in (*state(), "unknown"):
        for name, value in VALUES.items():
            marked = json.dumps(state(**{field: "MARK"}))
            yield f"{field} {name}", marked.replace('"MARK"', value).encode("utf-8")
    for kind, value in {"kind": "1", "message": "[]", "advice": "null", "more": "NaN"}.items():
        cause = {"kind": "a", "message": "b", "advice": "c"} | {kind: "MARK"}
        text = json.dumps(state(status="failed", cause=cause)).replace('"MARK"', value)
        yield f"cause's {kind}", text.encode("utf-8")


Change = Callable[[RunFolder, Path], None]


def links() -> dict[str, Change]:
    """Links in a run's folder that lead out of it."""

    def to_folder(name: str) -> Change:
        def change(run: RunFolder, outside: Path) -> None:
            other = make_run(outside, run.name)
            for file in (other.samples(4) / "0.mp4", other.samples(4) / "sheet.png"):
                file.write_text(SECRET, encoding="utf-8")
            other.lora_file(8).write_text(SECRET, encoding="utf-8")
            inside = run.folder / name
            inside.rename(run.folder / "before") if inside.exists() else None
            inside.symlink_to(other.folder / name, target_is_directory=True)

        return change

    def to_file(name: str) -> Change:
        def change(run: RunFolder, outside: Path) -> None:
            path = run.folder / name.replace("LORA", run.lora_file(8).name)
            make_special(path, "secret", outside)

        return change

    folders = ("samples", "samples/000004", "weights", "checkpoints", "recovery")
    files = ("samples/000004/0.mp4", "samples/000004/sheet.png", "weights/LORA", *FILES)
    return {name: to_folder(name) for name in folders} | {name: to_file(name) for name in files}
