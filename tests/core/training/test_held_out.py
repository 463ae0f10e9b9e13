"""Clips that are held out: never trained on, measured at the same noise, and costing the run nothing else."""

import json
import math
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from ltxv_train_core.datasets.dataset import TrainingDataset
from ltxv_train_core.datasets.held_out import held_out
from ltxv_train_core.datasets.index import read_index, write_index
from ltxv_train_core.errors import ConfigurationError
from ltxv_train_core.events import (
    CheckpointWritten,
    Control,
    HeldOutMeasured,
    Notice,
    StepCompleted,
)
from ltxv_train_core.families.ltxv.denoiser import LTXVideoDenoiser
from ltxv_train_core.runs import RunFolder
from ltxv_train_core.runs.fingerprint import fingerprint
from ltxv_train_core.training.held_out import LEVELS, HeldOut
from ltxv_train_core.training.preflight import problems
from ltxv_train_core.training.run_plan import open_source, plan_run
from ltxv_train_core.training.trainer import train

HELD = 2
LONGER = {"optimization": {"steps": 6}, "checkpoints": {"interval": 2}}


def run_of(trained) -> RunFolder:
    return RunFolder(trained.lora_file.parent.parent)


def holding(training_config, **sections):
    data = {"held_out_clips": HELD, **sections.pop("data", {})}
    return training_config(**LONGER | sections, data=data)


@pytest.mark.long
def test_a_run_is_that_of_a_data_set_without_them(training_config, stripes_data, tmp_path):
    told: list = []
    with_measure = train(holding(training_config, name="with"), told.append)
    own = Path(shutil.copytree(stripes_data, tmp_path / "own"))
    index = read_index(own)
    numbers = held_out(index.items, HELD)
    assert len(numbers) == HELD
    items = tuple(each for n, each in enumerate(index.items) if n not in numbers)
    write_index(own / "index.json", type(index)(**{**vars(index), "items": items}))
    without = train(training_config(own, **LONGER, name="without"))
    first, second = load_file(with_measure.lora_file), load_file(without.lora_file)
    assert all(torch.equal(first[key], second[key]) for key in second)
    measured = run_of(with_measure).held_out()
    assert [each.step for each in measured] == [0, 2, 4, 6]
    assert {each.levels for each in measured} == {LEVELS}
    assert all(len(each.clips) == HELD for each in measured)
    events = [each for each in told if isinstance(each, HeldOutMeasured)]
    assert [each.step for each in events] == [0, 2, 4, 6]
    assert [each.loss for each in events] == pytest.approx([each.loss for each in measured])
    assert run_of(without).held_out() == []


@pytest.mark.long
def test_the_noise_is_the_same_whatever_the_seed_of_the_run(training_config):
    first, second = (
        run_of(train(holding(training_config, name=f"seed-{seed}", seed=seed))).held_out()
        for seed in (1, 2)
    )
    assert first[0].clips == second[0].clips
    assert first[-1].clips != second[-1].clips


def test_a_resumed_run_measures_the_same(training_config):
    whole = run_of(train(holding(training_config, name="whole"))).held_out()
    stopped = holding(training_config, name="stopped", optimization={"steps": 6})
    control = Control()

    def stop_at_three(event):
        if isinstance(event, StepCompleted) and event.step == 3:
            control.stop()

    train(stopped, stop_at_three, control)
    again = run_of(train(stopped)).held_out()
    assert [(each.step, each.clips) for each in again if each.step in (0, 2, 4, 6)] == [
        (each.step, each.clips) for each in whole
    ]


@pytest.mark.long
def test_the_average_is_measured_too(training_config):
    optimization = {"steps": 6, "ema_decay": 0.5}
    measured = run_of(train(holding(training_config, optimization=optimization))).held_out()
    assert measured[0].average == measured[0].clips, "nothing has moved yet"
    assert measured[-1].average != measured[-1].clips
    assert measured[-1].average_loss == pytest.approx(measured[-1].loss, rel=0.2)


@pytest.mark.parametrize(
    ("interval", "steps", "ema", "clips"),
    [(1000, 4000, None, 10), (1000, 4000, 0.9, 6), (10, 4000, None, 4), (None, 40_000, None, 49)],
)
def test_as_many_clips_as_three_per_cent_of_the_time_allow(
    training_config, stripes_data, interval, steps, ema, clips
):
    optimization = {"steps": steps, "batch_size": 1, "ema_decay": ema}
    config = training_config(optimization=optimization, checkpoints={"interval": interval})

    class Many:
        some = TrainingDataset.some

        def __len__(self):
            return 50

    assert len(HeldOut(config, Many(), steps).numbers) == clips


def test_too_many_is_a_problem_before_the_run(training_config, stripes_data):
    count = len(json.loads((stripes_data / "index.json").read_text())["items"])
    config = training_config(data={"held_out_clips": count})
    (line,) = problems(config)
    assert line.startswith(f"data.held_out_clips {count}: the data set has {count} clips")
    with pytest.raises(ConfigurationError, match="hold fewer out"):
        train(config)


@pytest.fixture
def rising(monkeypatch):
    """Held-out losses that rise from step 4 on, whatever the weights are."""
    measure = HeldOut.measure

    def as_if(self, runner, *others):
        found = measure(self, runner, *others)
        return replace(found, clips=((abs(runner.step - 4) + 1.0,) * len(LEVELS),) * HELD)

    monkeypatch.setattr(HeldOut, "measure", as_if)


def patient(training_config, patience, **sections):
    options = {"steps": 20, "early_stopping_patience": patience}
    return holding(training_config, optimization=options, name=f"patient-{patience}", **sections)


def test_a_run_ends_by_itself_when_nothing_is_gained(training_config, rising):
    told: list = []
    trained = train(patient(training_config, 6), told.append)
    assert (trained.step, trained.steps) == (10, 10)
    run = run_of(trained)
    assert run.is_finished()
    assert [each.step for each in run.held_out()] == [0, 2, 4, 6, 8, 10]
    ends = [
        each.message for each in told if isinstance(each, Notice) and "ends at step" in each.message
    ]
    assert ends == ["the run ends at step 10 of 20: no lower held-out loss in 6 steps"]
    again: list = []
    assert train(patient(training_config, 6), again.append).lora_file == trained.lora_file
    assert not any(isinstance(each, StepCompleted) for each in again)


def test_without_held_out_clips_it_never_ends_early(training_config):
    told: list = []
    options = {"steps": 4, "early_stopping_patience": 1}
    assert train(training_config(optimization=options), told.append).step == 4
    assert any(
        "early_stopping_patience: is not used" in str(getattr(e, "message", "")) for e in told
    )


@pytest.mark.long
def test_a_step_whose_measurement_was_stopped_is_measured_when_the_run_resumes(training_config):
    whole = run_of(train(holding(training_config, name="undisturbed"))).held_out()
    config, control = holding(training_config, name="disturbed"), Control()

    def stop_before_measuring(event):
        if isinstance(event, CheckpointWritten) and event.step == 4:
            control.stop()

    stopped = run_of(train(config, stop_before_measuring, control))
    assert [each.step for each in stopped.held_out()] == [0, 2]
    resumed = run_of(train(config)).held_out()
    assert [(each.step, each.clips) for each in resumed] == [
        (each.step, each.clips) for each in whole
    ]


@pytest.mark.long
def test_whoever_asks_an_ended_run_for_more_steps_gets_its_patience_anew(training_config, rising):
    assert train(patient(training_config, 6)).step == 10
    options = {"steps": 40, "early_stopping_patience": 6}
    longer = train(holding(training_config, optimization=options, name="patient-6"))
    assert (longer.step, longer.steps) == (16, 16)


@pytest.mark.long
def test_a_stage_has_a_patience_of_its_own_and_losses_of_its_own_clips(
    training_config, rising, prepared
):
    first = run_of(train(patient(training_config, 6)))
    options = {"steps": 4, "early_stopping_patience": 6}
    config = holding(
        training_config, optimization=options, data={"preprocessed_data_root": str(prepared)}
    )
    second = train(config, continue_from=first)
    assert (second.step, second.steps) == (14, 14)
    assert [each.step for each in run_of(second).held_out()] == [10, 12, 14]


def test_a_loss_that_is_not_finite_is_told_and_costs_the_run_nothing(training_config, monkeypatch):
    measure = HeldOut.measure

    def overflows(self, runner, *others):
        found = measure(self, runner, *others)
        return (
            replace(found, clips=((math.nan,) * len(LEVELS),) * HELD) if runner.step == 2 else found
        )

    monkeypatch.setattr(HeldOut, "measure", overflows)
    told: list = []
    trained = train(holding(training_config), told.append)
    assert trained.step == 6
    assert [each.step for each in run_of(trained).held_out()] == [0, 4, 6]
    assert "the held-out loss of step 2 is not finite: it is not recorded" in [
        each.message for each in told if isinstance(each, Notice)
    ]


@pytest.mark.long
@pytest.mark.parametrize(
    "options", [{"loss": "huber", "loss_delta": 0.1}, {"loss_weighting": "min_snr"}], ids=str
)
def test_it_measures_squared_errors_whatever_is_trained_with(training_config, options):
    """Before the first step the weights are the same."""
    once = {"optimization": {"steps": 1}}
    plain, other = (
        train(holding(training_config, **once, flow_matching=each, name=f"loss-{bool(each)}"))
        for each in ({}, options)
    )
    ours, theirs = (run_of(each) for each in (other, plain))
    assert ours.held_out()[0].clips == theirs.held_out()[0].clips
    assert ours.metrics()[0].loss != theirs.metrics()[0].loss
    assert ours.held_out()[1].clips != theirs.held_out()[1].clips


@pytest.mark.long
def test_patience_is_no_part_of_the_name_and_an_ended_run_goes_on_without_it(
    training_config, rising
):
    half = holding(training_config, optimization={"steps": 20}, name="patient")
    control = Control()

    def stop_at_two(event):
        if isinstance(event, StepCompleted) and event.step == 2:
            control.stop()

    begun = train(half, stop_at_two, control)
    options = {"steps": 20, "early_stopping_patience": 6}
    patient_one = holding(training_config, optimization=options, name="patient")
    ended = train(patient_one)
    assert ended.run_folder == begun.run_folder
    assert (ended.step, ended.steps) == (10, 10)
    assert train(patient_one).step == 10, "it is finished as long as it may end there"
    whole = train(half)
    assert whole.run_folder == begun.run_folder
    assert (whole.step, whole.steps) == (20, 20)


@pytest.mark.long
def test_a_run_that_an_earlier_version_named_by_its_patience_is_found(training_config, rising):
    config = patient(training_config, 6)
    ended = train(config)
    plan = plan_run(config)
    facts = plan.dataset.fingerprint(), open_source(config).identity, 0, None, True
    earlier = fingerprint(config, *facts, patience=6)
    state = plan.run.written_state()
    assert state.fingerprint == fingerprint(config, *facts) != earlier
    folder = ended.run_folder.with_name(f"{config.name}-{earlier}")
    ended.run_folder.rename(folder)
    RunFolder(folder).write_state(replace(state, fingerprint=earlier))
    for file in (folder / "weights").iterdir():
        file.rename(file.with_name(file.name.replace(ended.run_folder.name, folder.name)))
    assert train(config).run_folder == folder


def test_a_folder_in_the_place_of_the_losses_is_told_and_costs_the_run_nothing(training_config):
    config = holding(training_config)
    (plan_run(config).run.folder / "held_out.jsonl").mkdir(parents=True)
    told: list = []
    assert train(config, told.append).finished
    lines = [each.message for each in told if isinstance(each, Notice) and each.is_problem]
    assert len(lines) == 4
    assert "the held-out loss of step 0 can't be recorded" in lines[0]


@pytest.mark.parametrize("batch_size", [4, 5])
def test_a_clip_is_measured_in_one_pass_where_a_batch_is_as_large(
    training_config, monkeypatch, batch_size
):
    """And comes to the same loss as level by level."""
    passes: list[int] = []
    denoise = LTXVideoDenoiser.denoise

    def counted(denoiser, seen, text):
        if not denoiser.transformer.training:
            passes.append(len(seen["video"].tokens))
        return denoise(denoiser, seen, text)

    monkeypatch.setattr(LTXVideoDenoiser, "denoise", counted)
    options = {"batch_size": batch_size, "steps": 1}
    first, second = run_of(train(holding(training_config, optimization=options))).held_out()
    levels = [5] if batch_size == 5 else [1] * 5
    at_first = 4 * ([3] if batch_size >= 3 else [1] * 3)  # with captions and without, twice
    moved = [3] * 2
    assert passes == HELD * levels + at_first + HELD * levels + moved
    alone = run_of(train(holding(training_config, name="alone", optimization={"steps": 1})))
    assert first.clips == tuple(pytest.approx(each, rel=1e-5) for each in alone.held_out()[0].clips)
    assert (first.moved, second.moved > 0) == (0, True)
