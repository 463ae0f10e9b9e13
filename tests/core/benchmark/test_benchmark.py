"""Training steps measured over a grid, on the CPU, with random weights."""

import json
import threading
import time
from dataclasses import replace

import pytest
import torch

from ltxv_train_core.benchmark.case import described
from ltxv_train_core.benchmark.grid import BenchmarkGrid, default_grid
from ltxv_train_core.benchmark.measure import measured
from ltxv_train_core.benchmark.names import LTX2_19B, MODELS, OPTIONS, sections_of
from ltxv_train_core.benchmark.process import measured_by, measuring_process
from ltxv_train_core.benchmark.run import run_benchmark
from ltxv_train_core.cli import main
from ltxv_train_core.errors import Cancelled, ConfigurationError
from ltxv_train_core.events import Notice, Progress
from ltxv_train_core.training.transformer_sizes import transformer_sizes

CPU = torch.device("cpu")
SIZE = "64x64x9"


def grid(**values):
    given = {"models": ["LTXV_MINIATURE"], "sizes": [SIZE], "ranks": ["4"], "options": ["none"]}
    return BenchmarkGrid(**{**given, "blocks": 1, "steps": 1, **values})


def cells(line):
    return [cell.strip() for cell in line.strip("|").split("|")]


@pytest.mark.long
def test_the_command_prints_and_writes_a_row_for_each_combination(tmp_path, capsys):
    options = ["none", "checkpointing+int8-quanto"]
    given = ["--sizes", SIZE, "--ranks", "4", "8", "--options", *options, "--blocks", "2"]
    given += ["--steps", "2", "--attention", "automatic", "cudnn", "--output", str(tmp_path)]
    assert main(["benchmark", "LTXV_MINIATURE", *given]) == 0
    output = capsys.readouterr().out
    assert output.startswith("- device: cpu, ")
    assert f"torch {torch.__version__}" in output
    head, _, *rows = [cells(line) for line in output.splitlines() if line.startswith("|")]
    assert len(rows) == 2 * 2 * 2
    assert [row[4] for row in rows] == ["4"] * 4 + ["8"] * 4
    named = [dict(zip(head, row, strict=True)) for row in rows]
    assert {row["blocks"] for row in named} == {"2 of 4"}
    assert {row["tokens"] for row in named} == {"8"}
    for row in named:
        if row["attention"] == "cudnn":
            assert (row["s a step"], row["peak memory"]) == ("no such kernel", "")
        else:
            assert float(row["s a step"]) * float(row["steps/s"]) == pytest.approx(1, rel=0.02)
    assert "Not all blocks were run" in output
    (file,) = tmp_path.glob("*.json")
    written = json.loads(file.read_text("utf-8"))
    assert written["missing"] == 0
    assert [len(row["seconds"]) for row in written["rows"]] == [2, 0] * 4
    assert written["rows"][0]["tokens"] == {"video": 8}
    assert file.with_suffix(".md").read_text("utf-8").strip() in output


@pytest.mark.long
def test_what_saves_memory_takes_less():
    def peak(options, size="256x256x25"):
        case = grid(sizes=[size], options=[options], blocks=4).cases()[0]
        found = measured(case, CPU)
        assert found.outcome == "measured", found
        return found.peak_bytes, case.estimate().total

    plain, estimate = peak("none")
    assert plain == pytest.approx(estimate, rel=0.1)
    saving, estimate = peak("checkpointing")
    assert saving == pytest.approx(estimate, rel=0.1)
    assert saving < 0.75 * plain
    (smaller, less), (_, more) = peak("none", "128x128x25"), peak("none")
    assert plain - smaller == pytest.approx(more - less, rel=0.25)


@pytest.mark.long
def test_sound_is_trained_with_video():
    case = grid(models=["LTX2_MINIATURE"], blocks=0).cases()[0]
    assert (case.blocks, set(case.tokens)) == (4, {"video", "audio"})
    assert measured(case, CPU).outcome == "measured"


def test_shapes_are_those_of_published_models():
    assert transformer_sizes(described(LTX2_19B)).numbers == pytest.approx(18.99e9, rel=0.001)
    cases = BenchmarkGrid(MODELS[:2], [SIZE], ["4"], ["none"]).cases()
    bases = [case.estimate().base for case in cases]
    assert bases == pytest.approx([2 * 1.923e9, 2 * 13.04e9], rel=0.001)
    assert [case.blocks for case in cases] == [28, 48]
    assert default_grid("cpu").blocks == 2
    assert default_grid("cuda").blocks == 0


@pytest.mark.long
def test_memory_that_is_not_enough_is_a_row_and_the_next_one_is_measured():
    """A weight of 4 million squared takes more than any computer has."""
    case = grid().cases()[0]
    sizes = {"num_attention_heads": 4, "attention_head_dim": 2**20, "cross_attention_dim": 2**22}
    with measuring_process(threading.Event()) as process:
        first = measured_by(process, replace(case, config={**case.config, **sizes}))
        second = measured_by(process, case)
    assert (first.outcome, first.seconds, first.peak_bytes) == ("out of memory", (), 0)
    assert second.outcome == "measured"


@pytest.mark.long
def test_a_stop_within_a_row_keeps_the_rows_before(tmp_path):
    stop, events, asked = threading.Event(), [], [0.0]

    def report(event):
        events.append(event)
        if isinstance(event, Progress) and event.done == 1:
            asked[0] = time.monotonic()
            stop.set()

    endless = grid(options=["none", "checkpointing"], steps=1)
    with pytest.raises(Cancelled, match="has the 1 rows that were measured"):
        run_benchmark(endless, tmp_path / "b", report, stop)
    assert time.monotonic() - asked[0] < 15
    written = json.loads((tmp_path / "b.json").read_text("utf-8"))
    assert (len(written["rows"]), written["missing"]) == (1, 1)
    assert "Stopped: 1 more rows were not measured" in (tmp_path / "b.md").read_text("utf-8")
    assert [type(e) for e in events] == [Progress, Notice, Progress]


def test_wrong_values_are_told_together_before_anything_runs(capsys):
    given = ["--sizes", "100x64x9", "--ranks", "many", "0", "--options", "checkpointing+turbo"]
    given += ["--attention", "slow", "--steps", "0"]
    assert main(["benchmark", "LTXV_MINIATURE", *given]) == 2
    told = capsys.readouterr().err.splitlines()
    assert len(told) == 6
    for part in (
        "'checkpointing+turbo': expected some of none, checkpointing",
        "attention: 'slow'",
    ):
        assert any(part in line for line in told)
    assert sum(line.startswith("ranks") for line in told) == 2
    for part in ("ranks: 'many'", "steps: 0: expected 1", "multiples of 32"):
        assert any(part in line for line in told), told
    assert main(["benchmark", "NO_MODEL", "--sizes", SIZE]) == 1


@pytest.mark.long
def test_offload_takes_the_blocks_that_are_run(tmp_path):
    given = ["LTXV_MINIATURE", "--sizes", SIZE, "--ranks", "4", "--steps", "1", "--blocks", "3"]
    output = ["--options", "int4+offload", "--output", str(tmp_path)]
    assert main(["benchmark", *given, *output]) == 0
    (record,) = tmp_path.glob("*.json")
    text = record.read_text(encoding="utf-8")
    assert "the model has 3 blocks" not in text
    (row,) = json.loads(text)["rows"]
    assert row["outcome"] == "measured", row["text"]


def test_options_are_joined():
    assert sections_of("none") == {}
    assert sections_of("checkpointing+offload+int8-quanto") == {
        "optimization": {"enable_gradient_checkpointing": True},
        "acceleration": {"blocks_to_offload": 1000, "quantization": "int8-quanto"},
    }
    with pytest.raises(ConfigurationError, match="twice"):
        sections_of("int8-quanto+int4-quanto")
    assert {"none", "compile", "int8-quanto", "fp8-quanto"} < set(OPTIONS)
