"""Runs on disk through the library's door."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

import ltxv_train_core
from ltxv_train_core.errors import LTXVTrainError
from ltxv_train_core.events import StepCompleted
from ltxv_train_core.runs import RunBusyError, RunFolder, RunLibrary, RunNotFoundError, RunWriter
from ltxv_train_core.runs.state import RunState

PACKAGE_FOLDER = Path(ltxv_train_core.__file__).parent.parent


def make_run(folder: Path, name: str, status: str = "finished", step: int = 4) -> RunFolder:
    run = RunFolder(folder / name)
    with RunWriter(run) as writer:
        writer.begin(RunState.new(steps=8))
        for move in {"queued": []}.get(
            status, ["running", *([status] if status != "running" else [])]
        ):
            writer.move(move, step=step)
    return run


def metrics(step: int) -> StepCompleted:
    return StepCompleted(step, 8, 1 / step, 1e-3, 0.5, 0.1, 1.0)


@pytest.fixture
def library(tmp_path):
    return RunLibrary(tmp_path / "runs")


def test_runs_are_listed_and_looked_up_by_name(library, tmp_path):
    assert library.summaries() == []
    make_run(library.folder, "first-abc", "stopped")
    make_run(library.folder, "second-abc")
    (library.folder / "no run").mkdir()
    (tmp_path / "outside").mkdir()
    make_run(tmp_path, "outside")
    found = {each.name: (each.state.status, each.step) for each in library.summaries()}
    assert found == {"first-abc": ("stopped", 4), "second-abc": ("finished", 4)}
    assert library.find("first-abc").folder == library.folder / "first-abc"
    for name in ("third", "../outside", str(tmp_path / "outside"), "", ".", ".locks", "no run"):
        with pytest.raises(RunNotFoundError, match="no run is named"):
            library.find(name)


def test_metrics_are_read_since_a_step_even_while_a_line_is_written(library):
    run = make_run(library.folder, "run")
    assert (run.metrics(), run.last_step()) == ([], 0)
    for step in range(1, 8):
        run.append_metrics(metrics(step))
    with run.metrics_file.open("a", encoding="utf-8") as file:
        file.write('{"step": 8, "st')
    assert [each.step for each in run.metrics(since=5)] == [6, 7]
    assert run.metrics() == [metrics(step) for step in range(1, 8)]
    assert run.last_step() == 7
    assert run.metrics(since=100) == []
    run.keep_metrics_until(3)
    assert [each.step for each in run.metrics()] == [1, 2, 3]


def test_samples_and_loras_are_listed_by_step(library):
    run = make_run(library.folder, "run-1")
    for step in (0, 100):
        run.samples(step).mkdir(parents=True)
        for name in ("0.mp4", "1.mp4", "sheet.png"):
            (run.samples(step) / name).touch()
    run.lora_file(1).parent.mkdir()
    for path in (run.lora_file(100), run.ema_file(100), run.lora_file(50)):
        path.touch()
    sets = run.sample_sets()
    assert [(each.step, [v.name for v in each.videos]) for each in sets] == [
        (0, ["0.mp4", "1.mp4"]),
        (100, ["0.mp4", "1.mp4"]),
    ]
    assert run.sample_file("000100/1.mp4") == run.samples(100) / "1.mp4"
    assert run.sample_file("../run.json") is None
    assert run.latest_sheet() == sets[-1].sheet
    loras = [(each.step, each.is_average) for each in run.loras()]
    assert loras == [(50, False), (100, False), (100, True)]


def test_one_writer_at_a_time(library):
    run = make_run(library.folder, "run", "stopped")
    with (
        RunWriter(run).acquire(),
        pytest.raises(RunBusyError, match="run run is being trained by another"),
    ):
        RunWriter(run).acquire(patience_seconds=0)
    RunWriter(run).acquire(patience_seconds=0).release()


def test_a_run_whose_program_was_killed_has_failed_and_is_free(library):
    run = make_run(library.folder, "run", "stopped")
    code = (
        "import sys, time; from pathlib import Path\n"
        "from ltxv_train_core.runs import RunFolder, RunWriter\n"
        "writer = RunWriter(RunFolder(Path(sys.argv[1]))).acquire()\n"
        "writer.move('running', step=6); print('running', flush=True); time.sleep(60)"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(run.folder)],
        cwd=PACKAGE_FOLDER,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout.readline().strip() == "running"
        (summary,) = library.summaries()
        assert summary.state.status == "running"
        with pytest.raises(RunBusyError):
            library.delete("run")
    finally:
        process.kill()
        process.wait()
    (summary,) = library.summaries()
    assert (summary.state.status, summary.state.step) == ("failed", 6)
    assert summary.state.cause.kind == "crashed"
    with RunWriter(run).acquire(patience_seconds=0) as writer:
        assert writer.move("running").status == "running"


def test_a_deleted_run_is_gone_and_nothing_else(library):
    run, other = make_run(library.folder, "run"), make_run(library.folder, "run-2")
    run.append_metrics(metrics(1))
    library.delete("run")
    assert not run.folder.exists()
    assert [each.name for each in library.runs()] == [other.name]
    with pytest.raises(RunNotFoundError):
        library.delete("run")


def test_a_run_whose_files_are_in_use_is_left_whole(library, monkeypatch):
    """As on Windows, which moves no folder of an open file."""
    run = make_run(library.folder, "run")

    def refuse(source, target):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("pathlib.Path.replace", refuse)
    with pytest.raises(LTXVTrainError, match="run run can't be deleted"):
        library.delete("run")
    assert [each.name for each in library.summaries()] == ["run"]
    assert (run.folder / "run.json").is_file()


def test_a_damaged_state_hides_no_other_run(library):
    run = make_run(library.folder, "run")
    make_run(library.folder, "other")
    for text, reason in {
        "": "Invalid JSON",
        "[]": "Input should be",
        '{"status": "odd"}': "status: ",
        '{"status": "finished"}': "step: Field required",
    }.items():
        (run.folder / "run.json").write_text(text, encoding="utf-8")
        found = {each.name: each.state for each in library.summaries()}
        assert found.keys() == {"run", "other"}
        assert (found["run"].status, found["run"].cause.kind) == ("failed", "damaged")
        assert f"its run.json is damaged ({reason}" in found["run"].cause.message
        assert library.summary(run).state == found["run"]
    library.delete("run")
    assert [each.name for each in library.summaries()] == ["other"]


def test_a_state_of_a_later_version_can_be_read(library):
    run = make_run(library.folder, "run")
    path = run.folder / "run.json"
    value = json.loads(path.read_text(encoding="utf-8")) | {"version": 9, "mood": "good"}
    path.write_text(json.dumps(value), encoding="utf-8")
    assert run.written_state().status == "finished"


@pytest.mark.parametrize(
    ("status", "then"), [("paused", "finished"), ("stopped", "paused"), ("failed", "finished")]
)
def test_a_run_that_rests_moves_only_by_being_trained(library, status, then):
    run = make_run(library.folder, "run", status)
    with RunWriter(run) as writer, pytest.raises(AssertionError, match=f"{status} -> {then}"):
        writer.move(then)
