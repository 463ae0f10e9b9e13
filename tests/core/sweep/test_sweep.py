"""Runs that differ in a few options: trained, ended where they are bad, ranked, gone on with."""

import json

import pytest
from PIL import Image

from ltxv_train_core.cli import main
from ltxv_train_core.config import TrainingConfig, yaml_file
from ltxv_train_core.errors import Cancelled, ConfigurationError
from ltxv_train_core.events import Control, Notice, StepCompleted
from ltxv_train_core.runs import RunFolder
from ltxv_train_core.sweep.result import SweepResult, Trial
from ltxv_train_core.sweep.run import run_sweep

RATES = (1e-3, 3e-3, 1e-2, 1e-12)
VARY = "optimization.learning_rate: 1e-3, 3e-3, 1e-2, 1e-12"
STEPS, INTERVAL = 8, 2


@pytest.fixture
def config(training_config):
    """Makes configurations of eight steps, measured every two."""

    def make(**sections):
        options = {
            "optimization": {"steps": STEPS, "batch_size": 2, "scheduler_type": "constant"},
            "lora": {"rank": 4, "alpha": 4},
            "checkpoints": {"interval": INTERVAL, "keep_last_n": 1},
        }
        return training_config(**options | {"data": {"held_out_clips": 2}} | sections)

    return make


def rates(result):
    return [trial.values["optimization.learning_rate"] for trial in result.ranked]


@pytest.mark.long
def test_runs_are_ranked_bad_ones_end_early_and_all_of_it_goes_on(config, tmp_path, capsys):
    events = []
    result, folder = run_sweep(config(), VARY, report=events.append)
    assert [trial.outcome for trial in result.trials] == ["finished"] * 3 + ["ended early"]
    bad = result.trials[-1]
    assert bad.measured[-1][0] == STEPS / 4, "as soon as it could be told"
    assert f"at step {STEPS // 4} its best loss" in bad.text
    assert rates(result)[-1] == 1e-12, "nothing moved"
    losses = [trial.best[1] for trial in result.ranked]
    assert losses == sorted(losses)
    assert result.best is result.ranked[0]
    runs = folder.parent.parent
    states = {trial.run: RunFolder(runs / trial.run).written_state() for trial in result.trials}
    assert len(states) == 4
    for trial in result.trials:
        assert states[trial.run].held_out_loss == pytest.approx(trial.best[1])
    assert any(isinstance(e, Notice) and "run 4 ended early" in e.message for e in events)

    table = (folder / "sweep.md").read_text(encoding="utf-8")
    assert table == result.text
    assert table.splitlines()[2].split(" | ")[1] == f"{rates(result)[0]:g}"
    record = json.loads((folder / "sweep.json").read_text(encoding="utf-8"))
    assert [each["number"] for each in record["trials"]] == [0, 1, 2, 3]
    with Image.open(folder / "sweep.png") as chart:
        assert chart.size == (640, 360)

    path = tmp_path / "config.yaml"
    yaml_file.save(config(), path)
    assert main(["sweep", str(path), "--vary", VARY]) == 0
    seen = capsys.readouterr()
    assert result.text in seen.out
    assert "step 1 " not in seen.err, "nothing is trained again"


@pytest.mark.long
def test_of_two_others_none_is_ended_early(config):
    result, _ = run_sweep(config(), "optimization.learning_rate: 3e-3, 1e-2, 1e-12")
    assert [trial.outcome for trial in result.trials] == ["finished"] * 3


@pytest.mark.long
def test_a_stopped_sweep_goes_on_where_it_was(config):
    control, made = Control(), []

    def report(event):
        if isinstance(event, StepCompleted):
            made.append(event.step)
            if len(made) == STEPS + 3:
                control.stop()

    vary = "lora.rank: 2, 4"
    with pytest.raises(Cancelled):
        run_sweep(config(), vary, report=report, stop=control)
    made.clear()
    result, _ = run_sweep(config(), vary, report=report)
    assert made == list(range(4, STEPS + 1))
    assert [trial.outcome for trial in result.trials] == ["finished"] * 2
    assert result.missing == 0


@pytest.mark.long
def test_a_run_that_can_not_be_trained_is_a_line_of_the_table(config):
    result, _ = run_sweep(config(), 'lora.target_modules: ["attn1.to_q"], [nothing_like_it]')
    assert [trial.outcome for trial in result.trials] == ["finished", "failed"]
    assert "nothing_like_it" in result.trials[1].text
    assert result.best is result.trials[0]
    assert "| 2 | " in result.text.splitlines()[3]


@pytest.mark.long
def test_to_the_end_every_run_makes_all_its_steps(config):
    vary = VARY.replace("1e-3, ", "")
    whole, _ = run_sweep(config(), f"{vary}, 2e-12", ends_early=False)
    assert {trial.measured[-1][0] for trial in whole.trials} == {STEPS}


@pytest.mark.parametrize(
    ("vary", "sections", "told"),
    [
        (
            "lora.rank: 4, 8",
            {"data": {"held_out_clips": 0}},
            "data.held_out_clips: a sweep compares",
        ),
        ("lora.rank: -1, 8", {}, "lora.rank"),
        ("lora.nothing: 1", {}, "there is no such option"),
        ("lora.adapter: lora, lokrr", {}, "lora.adapter: must be"),
        ("lora.rank: 4, 2000", {}, "lora.rank: must be at most 1024"),
    ],
)
def test_what_no_sweep_can_do_is_told_before_anything_is_trained(config, vary, sections, told):
    found = config()
    changed = {name: getattr(found, name).model_copy(update=v) for name, v in sections.items()}
    with pytest.raises(ConfigurationError) as raised:
        run_sweep(found.model_copy(update=changed), vary)
    assert told in str(raised.value)


@pytest.mark.parametrize("method", ["random", "tpe"])
def test_a_range_beyond_what_is_allowed_is_told_before_anything_is_trained(config, method):
    if method == "tpe":
        pytest.importorskip("optuna")
    with pytest.raises(ConfigurationError, match=r"optimization\.learning_rate"):
        run_sweep(config(), "optimization.learning_rate: 2 to 9", method, trials=3)


@pytest.mark.long
def test_two_values_that_do_not_go_together_are_a_line_of_the_table(config):
    """lokr alone and a ratio alone are fine, so the other runs are worth having."""
    vary = "lora.adapter: lora, lokr\nlora.lora_plus_ratio: 1, 4"
    short = {"optimization": {"steps": 1, "batch_size": 1, "scheduler_type": "constant"}}
    result, _ = run_sweep(config(**short), vary)
    assert [trial.outcome for trial in result.trials] == ["finished"] * 3 + ["failed"]
    assert "lora_plus_ratio 4" in result.trials[3].text


@pytest.mark.parametrize(
    "damage",
    [
        {"measured": [["a", "b"]]},
        {"measured": [[1, None]]},
        {"measured": [[1, 2.0, 3]]},
        {"run": 5},
        {"outcome": "x"},
        {"number": "x"},
        {"values": None},
    ],
    ids=str,
)
def test_a_damaged_record_of_a_sweep_is_made_anew(damage):
    trial = Trial(0, {"lora.rank": 4}, "run", "finished", ((1, 0.5),))
    written = json.loads(json.dumps(SweepResult((trial,), 10).as_json()["trials"][0]))
    assert Trial.read(written) == trial
    with pytest.raises((ValueError, TypeError)):
        Trial.read(written | damage)


def test_an_option_of_a_later_version_leaves_a_sweep_where_it_is(config):
    class Later(TrainingConfig):
        later: int = 0

    vary = "lora.rank: 4"
    short = config(optimization={"steps": 1, "batch_size": 1, "scheduler_type": "constant"})
    _, folder = run_sweep(short, vary)
    dumped = short.model_dump(mode="json", exclude_unset=True)
    assert run_sweep(Later.model_validate(dumped), vary)[1] == folder


def test_less_than_no_runs_are_refused(config):
    with pytest.raises(ConfigurationError, match="trials: -3: expected 0 for all"):
        run_sweep(config(), "lora.rank: 4", trials=-3)


def test_without_measurements_there_is_no_best_run():
    result = SweepResult(
        (Trial(0, {"lora.rank": 4}, "", "failed", (), "why | not"),), 10, missing=2
    )
    assert result.best is None
    assert "2 runs were not trained" in result.text
    result.chart()
