"""Folders of runs that strangers made: the bad run is left out or costs itself, the others are listed."""

import json
import os
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from ltxv_train_core.cli import main
from ltxv_train_core.errors import LTXVTrainError
from ltxv_train_core.runs import RunFolder, RunLibrary
from ltxv_train_core.runs.curves import curves
from ltxv_train_core.runs.failures import failure_left
from tests.corpus.hostile_runs import (
    BAD,
    CONTENTS,
    FILES,
    GOOD,
    KINDS,
    LINES,
    links,
    make_run,
    make_special,
    row,
    state,
    states,
)
from tests.corpus.judge import SECRET, Case, judge, parameters

Found = dict[str, Any]
Change = Callable[[RunFolder, Path], None]

NAMES = {
    "surrogates": b"run-\xff\xfe",
    "lines": b"run\n-1",
    "terminal": b"run-\x1b[2J",
    "script": b"<script>alert(1)<script>",
    "quotes": b"\"run' $(x) `y`",
    "backslash": b"..\\..\\run",
    "long": b"r" * 250,
    "dots": b"...",
    "blank": b" ",
    "letters": "räksmörgås-١٢-²".encode(),
}
ENTRIES = ("²", "1e3", "-1", "١٢", "", " 4", "9" * 100, "+4", "0x10", "000004-copy", "4.0")


def look(runs: Path) -> Found:
    """All that can be asked of a library and of each run in it."""
    library = RunLibrary(runs)
    summaries = library.summaries()
    assert library.summaries() == summaries
    found: Found = {
        "listed": [json.loads(each.open_json + b"}", parse_constant=_refuse) for each in summaries]
    }
    for run in library.runs():
        found[run.name] = _details(library, run)
    main(["runs", "list", "--in", str(runs)])
    return found


def _details(library: RunLibrary, run: RunFolder) -> Found:
    assert library.find(run.name) == run
    metrics = run.metrics()
    assert [each for each in metrics if each.step > 3] == run.metrics(since=3)
    drawn = asdict(curves(metrics, 5))
    json.dumps(drawn, allow_nan=False)
    found = {
        "steps": [each.step for each in metrics],
        "samples": [each.step for each in run.sample_sets()],
        "files": [f"{path.parent.name}/{path.name}" for path in _files(run)],
        "loras": [each.step for each in run.loras()],
        "graph": run.graph(),
        "finished": run.is_finished(),
        "cause": failure_left(run),
    }
    for ask in (run.configuration, lambda: library.summary(run)):
        try:
            ask()
        except LTXVTrainError as error:
            found.setdefault("errors", []).append(str(error))
    return found


def _files(run: RunFolder) -> list[Path]:
    sets = run.sample_sets()
    found = [path for one in sets for path in (*one.videos, one.sheet)]
    own = run.folder.resolve()
    assert all(path.resolve().is_relative_to(own) for path in found)
    assert all(each.path.resolve().is_relative_to(own) for each in run.loras())
    assert [run.sample_file(f"{each.parent.name}/{each.name}") for each in found] == found
    return [*found, *(each.path for each in run.loras())]


def _refuse(name: str) -> None:
    raise AssertionError(f"{name} is no JSON")


def is_right(found: Found) -> str:
    """The good run is whole; of the bad one, what is shown has its type."""
    listed = {each["name"]: each for each in found["listed"]}
    good = found.get(GOOD, {})
    if GOOD not in listed or good["steps"] != [*range(1, 9)] or good["files"] != _GOOD_FILES:
        return f"the good run is not shown: {good}"
    bad = listed.get(BAD)
    if bad is None:
        return ""
    numbers = [bad[name] for name in ("step", "steps", "first_step", "skipped_steps", "processes")]
    texts = [
        bad[name] for name in ("status", "created", "updated", "fingerprint", "family", "data")
    ]
    if not all(type(each) is int and 0 <= each < 2**53 for each in numbers):
        return f"no numbers: {numbers}"
    return "" if all(isinstance(each, str) for each in texts) else f"no text: {texts}"


_GOOD_FILES = ["000004/0.mp4", "000004/sheet.png", f"weights/{GOOD}-000008.safetensors"]


def case(name: str, change: Change, right: Callable[[Found], str] = lambda found: "") -> Case:
    def prepare(folder: Path) -> Callable[[], Any]:
        runs = folder / "runs"
        make_run(runs, GOOD)
        change(make_run(runs, BAD), folder / "outside")
        return lambda: look(runs)

    return Case(name, prepare, ends="value", right=lambda found: is_right(found) or right(found))


def written(file: str, content: bytes) -> Change:
    return lambda run, outside: (run.folder / file).write_bytes(content) and None


def special(file: str, kind: str) -> Change:
    return lambda run, outside: make_special(run.folder / file, kind, outside)


def steps_are(*steps: int) -> Callable[[Found], str]:
    return lambda found: "" if found[BAD]["steps"] == [*steps] else f"steps {found[BAD]['steps']}"


def no_bad_run(found: Found) -> str:
    return f"listed: {found[BAD]}" if BAD in found else ""


def line_cases() -> list[Case]:
    return [
        case(
            f"line {name}",
            written(
                "metrics.jsonl", f"{row(1)}{line}\n{row(2)}{line}\r\n{row(4)}{line}\n".encode()
            ),
            steps_are(1, 2, 4),
        )
        for name, line in LINES.items()
    ] + [
        case(
            "metrics in disorder",
            written("metrics.jsonl", _rows(1, 2, 9, 4, 5)),
            steps_are(1, 2, 4, 5),
        ),
        case("metrics twice", written("metrics.jsonl", _rows(1, 2, 2, 3)), steps_are(1, 2, 3)),
        case("metrics NaN", written("metrics.jsonl", row(1, "NaN").encode()), steps_are(1)),
        case("metrics no end", written("metrics.jsonl", _rows(1, 2)[:-1]), steps_are(1)),
        case("metrics of lines", written("metrics.jsonl", b"\n" * 2**26), steps_are()),
        case("metrics of objects", written("metrics.jsonl", b"{}\n" * 2**24), steps_are()),
        case("metrics without lines", written("metrics.jsonl", b"x" * 2**26), steps_are()),
        case("metrics behind a long line", _long_line, steps_are(7)),
        case("very many metrics", written("metrics.jsonl", _rows(*range(1, 100_001)))),
    ]


def _rows(*steps: int) -> bytes:
    return "".join(map(row, steps)).encode("ascii")


def _long_line(run: RunFolder, outside: Path) -> None:
    with run.metrics_file.open("wb") as file:
        file.truncate(2**30)
        file.seek(2**30)
        file.write(f"\n{row(7)}".encode())


def entry_cases() -> list[Case]:
    def steps(name: str) -> Change:
        def change(run: RunFolder, outside: Path) -> None:
            if name:
                other = run.folder / "samples" / name
                other.mkdir()
                (other / "sheet.png").touch()
            run.lora_file(8).with_name(f"{run.name}-{name}.safetensors").touch()
            run.lora_file(8).with_name(f"{run.name}-000008-{name}.safetensors").touch()

        return change

    def right(found: Found) -> str:
        bad = found[BAD]
        return "" if (bad["samples"], bad["loras"]) == ([4], [8]) else f"{bad}"

    return [case(f"step {name or 'empty'}", steps(name), right) for name in ENTRIES]


def name_cases() -> list[Case]:
    def renamed(name: bytes) -> Change:
        return lambda run, outside: _move(run, run.folder.with_name(os.fsdecode(name)))

    return [case(f"name {name}", renamed(encoded)) for name, encoded in NAMES.items()]


def _move(run: RunFolder, target: Path) -> None:
    target.parent.mkdir(exist_ok=True)
    run.folder.rename(target)


def _linked_run(run: RunFolder, outside: Path) -> None:
    _move(run, outside / "run")
    run.folder.symlink_to(outside / "run", target_is_directory=True)


CASES = [
    *(case(f"run.json {name}", written("run.json", content)) for name, content in states()),
    *(case(f"{f} content {n}", written(f, c)) for f in FILES for n, c in CONTENTS.items()),
    *(case(f"{file} {kind}", special(file, kind)) for file in FILES for kind in KINDS),
    *line_cases(),
    *entry_cases(),
    *name_cases(),
    *(case(f"link {name}", change) for name, change in links().items()),
    case("linked run", _linked_run, no_bad_run),
]


@pytest.mark.parametrize("case", parameters(CASES, sampled=40))
def test_runs(case, tmp_path):
    judge(case, tmp_path)


@pytest.mark.corpus
@pytest.mark.corpus_sample
def test_a_run_with_links_is_deleted_and_what_they_lead_to_stays(tmp_path):
    changes = [change for name, change in links().items() if name != "run.json"]
    for number, change in enumerate(changes):
        runs, outside = tmp_path / f"{number}", tmp_path / f"outside {number}"
        run = make_run(runs, BAD)
        change(run, outside)
        before = sorted(outside.rglob("*"))
        RunLibrary(runs).delete(BAD)
        assert not run.folder.exists()
        assert sorted(outside.rglob("*")) == before != []


@pytest.mark.corpus
@pytest.mark.corpus_sample
@pytest.mark.parametrize("name", ["samples", "weights", "checkpoints", "recovery"])
def test_a_run_is_not_trained_through_links(tmp_path, name):
    run = make_run(tmp_path / "runs", BAD)
    links()[name](run, tmp_path / "outside")
    with pytest.raises(LTXVTrainError, match=f"{name}.* is a link"):
        run.require_no_links()


@pytest.mark.corpus
@pytest.mark.corpus_sample
@pytest.mark.parametrize("kind", ["secret", "folder", "endless", "dangling"])
def test_a_lock_that_is_no_lock_is_not_opened(tmp_path, kind):
    run = make_run(tmp_path / "runs", BAD)
    run.lock_file.parent.mkdir()
    (run.folder / "run.json").write_text(json.dumps(state(status="running")), encoding="utf-8")
    make_special(run.lock_file, kind, tmp_path / "outside")
    (found,) = RunLibrary(tmp_path / "runs").summaries()
    assert found.state.status == "failed"
    with pytest.raises(LTXVTrainError, match="is a link or no lock file"):
        RunLibrary(tmp_path / "runs").delete(BAD)
    assert SECRET in (tmp_path / "outside" / "secret").read_text(encoding="utf-8")
