"""Asked again and again, a library opens only what was written since."""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from ltxv_train_core.events import StepCompleted
from ltxv_train_core.runs import RunFolder, RunLibrary, RunState, RunWriter
from ltxv_train_core.runs.metrics_file import steps_after, write_steps

RUNS, STEPS = 500, 8

_opened: list[str] | None = None


def _note(event: str, arguments: tuple) -> None:
    if event == "open" and _opened is not None and isinstance(arguments[0], str):
        _opened.append(Path(arguments[0]).name)


sys.addaudithook(_note)


@contextmanager
def opened_files() -> Iterator[list[str]]:
    """The names of the files that are opened inside of the block."""
    global _opened
    _opened = []
    try:
        yield _opened
    finally:
        _opened = None


def step(number: int) -> StepCompleted:
    return StepCompleted(number, STEPS, 1 / number, 1e-3, 0.5, 0.1, 1.0)


def make_run(
    folder: Path, name: str, status: str = "finished", age_seconds: float = 60
) -> RunFolder:
    run = RunFolder(folder / name)
    run.folder.mkdir(parents=True)
    run.append_metrics(step(3))
    state = RunState.new(STEPS).moved("running", step=2)
    run.write_state(state if status == "running" else state.moved(status))
    settle(run, age_seconds)
    return run


def settle(run: RunFolder, age_seconds: float = 60) -> None:
    """Makes a run's files older: what was written just now may be written again in the same tick."""
    for path in (run.folder / "run.json", run.metrics_file):
        written = path.stat().st_mtime - age_seconds
        os.utime(path, (written, written))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "runs"


def steps(library: RunLibrary) -> dict[str, int]:
    return {each.name: each.step for each in library.summaries()}


def test_a_second_list_opens_nothing(folder):
    for number in range(RUNS):
        make_run(folder, f"run-{number}", ("finished", "stopped", "failed")[number % 3])
    library = RunLibrary(folder)
    with opened_files() as first:
        found = library.summaries()
    assert first.count("run.json") == len(found) == RUNS
    with opened_files() as second:
        again = library.summaries()
    assert second == []
    assert again is found
    changed = library.find("run-7")
    with RunWriter(changed) as writer:
        writer.move("running", step=5)
        with opened_files() as third:
            assert steps(library)["run-7"] == 5
    assert sorted(third) == ["metrics.jsonl", "run.json"]


def test_while_nothing_is_marked_some_runs_are_looked_at_in_turn(folder):
    """What another program wrote by hand is seen when it is the run's turn."""
    runs = [make_run(folder, f"run-{number}") for number in range(9)]
    os.utime(folder, (time.time() - 60,) * 2)
    library = RunLibrary(folder, looks_at=3)
    assert set(steps(library).values()) == {2}
    for run in runs:
        state = replace(run.written_state(), step=7)
        (run.folder / "run.json").write_text(json.dumps(state.to_json()), encoding="utf-8")
        settle(run, 30)
        os.utime(folder, (time.time() - 60,) * 2)
    seen = [list(steps(library).values()).count(7) for _ in range(4)]
    assert seen[-1] == 9


def test_a_state_of_another_process_is_seen_at_once(folder):
    """Runs that rest are not looked at, and its writer marks the folder."""
    run = make_run(folder, "run", "stopped")
    make_run(folder, "other")
    os.utime(folder, (time.time() - 60,) * 2)
    library = RunLibrary(folder, looks_at=0)
    assert steps(library) == {"run": 3, "other": 2}
    code = (
        "import sys; from pathlib import Path; from ltxv_train_core.runs import RunFolder, RunWriter\n"
        "with RunWriter(RunFolder(Path(sys.argv[1]))) as writer:\n"
        "    writer.move('running', step=6); writer.move('stopped')"
    )
    subprocess.run([sys.executable, "-c", code, str(run.folder)], check=True)
    assert steps(library) == {"run": 6, "other": 2}


def test_one_run_is_found_without_opening_others(folder):
    for number in range(20):
        make_run(folder, f"run-{number}", "stopped")
    library = RunLibrary(folder)
    with opened_files() as opened:
        summary = library.summary(library.find("run-7"))
    assert (summary.name, summary.step) == ("run-7", 3)
    assert sorted(opened) == ["metrics.jsonl", "run.json"]


@pytest.mark.parametrize("looks_at", [None, 0])
def test_what_comes_and_goes_is_seen_at_once(folder, looks_at):
    library = RunLibrary(folder, looks_at)
    make_run(folder, "first")
    assert steps(library) == {"first": 2}
    make_run(folder, "second", "stopped")
    assert steps(library) == {"first": 2, "second": 3}
    shutil.rmtree(folder / "first")
    assert steps(library) == {"second": 3}
    with RunWriter(library.find("second")) as writer:
        writer.move("running", step=4)
        assert steps(library) == {"second": 4}
        writer.run.append_metrics(step(5))
        assert steps(library) == {"second": 5}
    (found,) = library.summaries()
    assert (found.state.status, found.state.cause.kind) == ("failed", "crashed")
    assert library.summary(library.find("second")) == found


def test_what_one_look_at_a_run_tells_is_in_the_next_list(folder):
    """Also where the list itself finds nothing that changed since that look."""
    library, run = RunLibrary(folder), make_run(folder, "run", "stopped")
    assert steps(library) == {"run": 3}
    run.append_metrics(step(7))
    settle(run)
    assert library.summary(run).step == 7
    assert steps(library) == {"run": 7}


def test_what_is_written_in_the_same_tick_is_seen(folder):
    """A disk that counts whole seconds, where also the number of the file stays."""
    library, run = RunLibrary(folder), make_run(folder, "run", age_seconds=0)
    path = run.folder / "run.json"
    for number in range(1, STEPS):
        state = replace(run.written_state(), step=number)
        path.write_text(json.dumps(state.to_json()), encoding="utf-8")
        now = int(time.time())
        os.utime(path, (now, now))
        assert steps(library) == {"run": number}


def test_a_damaged_state_is_seen_when_it_is_mended(folder):
    library, run = RunLibrary(folder), make_run(folder, "run")
    good = (run.folder / "run.json").read_text(encoding="utf-8")
    for content, status in ((good, "finished"), ("{}", "failed"), (good, "finished")):
        (run.folder / "run.json").write_text(content, encoding="utf-8")
        settle(run)
        for _ in range(2):
            assert [each.state.status for each in library.summaries()] == [status]


def test_the_newest_steps_do_not_cost_the_whole_history(tmp_path):
    path = tmp_path / "metrics.jsonl"
    write_steps(path, [step(number) for number in range(1, 20_001)])
    assert [each.step for each in steps_after(path, 19_997)] == [19_998, 19_999, 20_000]
    whole, newest = (
        min(_seconds(lambda since=since: steps_after(path, since)) for _ in range(3))
        for since in (0, 19_997)
    )
    assert newest < whole / 20


def _seconds(work) -> float:
    before = time.thread_time()
    work()
    return time.thread_time() - before
