"""Several data sets in one run, and stages one after the other."""

import math
import shutil
from collections import Counter
from dataclasses import replace
from itertools import islice
from statistics import mean

import pytest
import torch
from safetensors.torch import load_file

from ltxv_train_core.config import yaml_file
from ltxv_train_core.config.data_set_lines import (
    DataSetLine,
    data_set_names,
    parse_data_set_line,
)
from ltxv_train_core.datasets.batches import batches
from ltxv_train_core.datasets.dataset import TrainingDataset
from ltxv_train_core.datasets.index import read_index, write_index
from ltxv_train_core.datasets.joined import require_alike
from ltxv_train_core.datasets.of_run import open_dataset
from ltxv_train_core.errors import DataError
from ltxv_train_core.events import Notice, StepCompleted
from ltxv_train_core.families.ltxv.miniature.datasets import generate
from ltxv_train_core.geometry import ReferenceScale
from ltxv_train_core.preprocessing.preprocess import PreprocessSettings, preprocess
from ltxv_train_core.runs import RunFolder
from ltxv_train_core.training.memory_fit import largest_sample
from ltxv_train_core.training.preflight import problems
from ltxv_train_core.training.run_plan import plan_run
from ltxv_train_core.training.trainer import train
from tests.core.conftest import MINIATURE
from tests.core.training.test_adapters import same
from tests.core.training.test_joint_run import clips, root
from tests.helpers.short_run import run
from tests.helpers.together import train_together

__all__ = ["clips", "root"]

SMALL, LARGE = 4, 3


def _made(task, folder, clips, size, seed=0):
    source = generate(task, folder, clips=clips, seed=seed)
    return preprocess(PreprocessSettings(source.metadata, MINIATURE, size)).root


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    return _made("stripes", tmp_path_factory.mktemp("a") / "small", SMALL, "64x64x9")


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    return _made("plain", tmp_path_factory.mktemp("b") / "large", LARGE, "96x96x17", seed=1)


@pytest.fixture
def configured(training_config, small, large):
    """A configuration of both, with options of the line of the second one."""

    def build_one(options="", data=None, **sections):
        line = f"{large}: {options}" if options else str(large)
        data = {"more_data_sets": [line], "num_dataloader_workers": 0} | (data or {})
        optimization = {"steps": 6, "batch_size": 1} | sections.pop("optimization", {})
        return training_config(small, data=data, optimization=optimization, **sections)

    return build_one


STAGED = {"options": "stage 2", "data": {"stage_steps": [3]}}


def opened(config):
    return open_dataset(config)


def shares(config, count):
    """How many samples of the first so many are of each data set."""
    found = batches(opened(config), 1, seed=0)
    return Counter(number for batch in islice(found, count) for number in batch.data_sets)


def test_repeats_and_balance_say_how_often_each_is_seen(configured):
    assert shares(configured(), 70) == {0: 40, 1: 30}
    assert shares(configured("repeats 4"), 64) == {0: 16, 1: 48}
    assert shares(configured(data={"repeats": 3.0}), 75) == {0: 60, 1: 15}
    assert shares(configured(data={"balanced": True}), 80) == {0: 40, 1: 40}
    assert shares(configured("repeats 2", {"balanced": True}), 120) == {0: 40, 1: 80}


def test_each_has_its_own_caption_dropout(configured):
    config = configured("caption_dropout 1", conditioning={"caption_dropout_p": 0.0})
    dataset = opened(config)
    empty = dataset.empty_text()
    for batch in islice(batches(dataset, 1, seed=0), 14):
        (tokens,) = batch.text.tensors.values()
        (of_empty,) = empty.values()
        is_empty = tokens[0].shape == of_empty.shape and torch.equal(tokens[0], of_empty)
        assert is_empty == (batch.data_sets == (1,)), batch.names


def test_a_weight_scales_the_loss_of_its_clips_alone(configured):
    told: list = []
    train(configured(name="plain"), told.append)
    heavy: list = []
    train(configured("weight 2", name="heavy"), heavy.append)
    first, second = ([e for e in each if isinstance(e, StepCompleted)] for each in (told, heavy))
    # Until the first clip of the second data set both runs are the same.
    step = next(n for n, each in enumerate(first) if not math.isnan(each.loss_by_data_set[1]))
    assert [each.loss for each in first[:step]] == [each.loss for each in second[:step]]
    assert second[step].loss == pytest.approx(2 * first[step].loss)
    assert second[step].loss_by_data_set[1] == pytest.approx(first[step].loss, rel=1e-6)


def test_the_loss_of_a_data_set_is_the_mean_of_its_clips(configured):
    """The batches of a step have a size each, so each is of one data set."""
    told: list = []
    sizes = {"steps": 4, "batch_size": 2, "gradient_accumulation_steps": 2}
    train(configured(data={"balanced": True}, optimization=sizes), told.append)
    for step in (each for each in told if isinstance(each, StepCompleted)):
        seen = [loss for loss in step.loss_by_data_set if not math.isnan(loss)]
        assert step.loss == pytest.approx(sum(seen) / len(seen), rel=1e-6)


def test_a_run_that_is_stopped_in_any_stage_goes_on_to_the_same_bytes(configured, tmp_path):
    whole, losses, told = run(configured(**STAGED))
    assert [line for line in told if line.startswith("stage")] == [
        "stage 1 of 2, steps 1 to 3: small",
        "stage 2 of 2, steps 4 to 6: large",
    ]
    metrics = RunFolder(whole.run_folder).metrics()
    assert [each.stage for each in metrics] == [1, 1, 1, 2, 2, 2]
    assert all(math.isnan(each.loss_by_data_set[2 - each.stage]) for each in metrics)
    assert RunFolder(whole.run_folder).lora_file(3).is_file(), "a stage ends with a checkpoint"
    for step in (2, 3, 4):
        half = configured(**STAGED, output_dir=str(tmp_path / f"stopped-{step}"))
        run(half, stop_after=step)
        again, _, notices = run(half)
        assert same(whole, again)
        place = "stage 1 of 2" if step < 3 else "stage 2 of 2"
        assert any(line.startswith(place) for line in notices)
    assert len(losses) == 6


@pytest.mark.long
def test_accumulation_and_read_ahead_change_nothing(configured):
    options = {"options": "repeats 2, weight 0.5, stages 1-2", "data": {"stage_steps": [2]}}
    whole, losses, _ = run(configured(**options, optimization={"gradient_accumulation_steps": 2}))
    ahead = options | {"data": {"stage_steps": [2], "num_dataloader_workers": 3}}
    other, again, _ = run(
        configured(**ahead, name="other", optimization={"gradient_accumulation_steps": 2})
    )
    assert losses == again
    first, second = load_file(whole.lora_file), load_file(other.lora_file)
    assert all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.long
def test_two_processes_see_the_same_samples_in_the_same_stages(configured, tmp_path):
    options = {"steps": 4, "learning_rate": 1e-2}
    staged = {"options": "repeats 2, stages 1-2", "data": {"stage_steps": [2]}}
    config = configured(**staged, optimization=options)
    yaml_file.save(config, tmp_path / "config.yaml")
    done = train_together(tmp_path / "config.yaml", 2)
    assert done.returncode == 0, done.stderr
    ours = load_file(done.stdout.splitlines()[-1])
    alone = configured(
        **staged,
        optimization=options | {"gradient_accumulation_steps": 2},
        output_dir=str(tmp_path / "alone"),
    )
    theirs = load_file(run(alone)[0].lora_file)
    assert all(torch.allclose(ours[n], theirs[n], atol=2e-4) for n in theirs)


def test_the_name_is_that_of_one_data_set_until_there_are_two(configured, training_config, small):
    names = [
        plan_run(config).run.name
        for config in (
            training_config(small, optimization={"steps": 2}),
            training_config(small, data={"repeats": 5.0, "weight": 2.0}, optimization={"steps": 2}),
            configured(optimization={"steps": 2}),
            configured("repeats 2", optimization={"steps": 2}),
            configured("caption_dropout 0.5", optimization={"steps": 2}),
        )
    ]
    assert names[0] == names[1]
    assert len(set(names)) == 4


def test_the_estimate_takes_the_largest_clip_of_all(configured, training_config, large):
    alone = training_config(large)
    assert largest_sample(opened(configured(**STAGED))) == largest_sample(opened(alone))


def test_held_out_clips_are_of_each_data_set(configured):
    dataset = opened(configured(data={"held_out_clips": 3}))
    held = dataset.held_out
    assert len(held) + len(dataset) == SMALL + LARGE
    assert {held[number].data_set for number in held.some(2)} == {0, 1}
    trained = train(configured(data={"held_out_clips": 3}, checkpoints={"interval": 3}))
    measured = RunFolder(trained.run_folder).held_out()
    assert [each.step for each in measured] == [0, 3, 6]
    assert all(len(each.clips) == len(held) for each in measured)
    names = measured[-1].data_sets
    assert set(names) == {"small", "large"}
    means = {
        name: mean(
            [loss for at, loss in zip(names, measured[-1].by_clip, strict=True) if at == name]
        )
        for name in names
    }
    assert measured[-1].by_data_set == {name: pytest.approx(each) for name, each in means.items()}


def test_a_data_set_of_its_own_is_held_out(configured, large, small):
    config = configured("held_out", checkpoints={"interval": 3})
    dataset = opened(config)
    assert len(dataset) == SMALL
    assert len(dataset.held_out) == LARGE
    trained = train(config)
    last = RunFolder(trained.run_folder).held_out()[-1]
    assert len(last.clips) == LARGE
    assert last.data_sets == ("large",) * LARGE
    assert last.by_data_set == {}, "one alone is what the loss says"


def test_held_out_clips_of_every_kind_keep_the_names_of_their_data_sets(
    configured, large, tmp_path
):
    other = _made("stripes", tmp_path / "own", 2, "64x64x9", seed=7)
    lines = [str(large), f"{other}: held_out"]
    held = opened(configured(data={"more_data_sets": lines, "held_out_clips": 3})).held_out
    found = Counter(held.name_of(number) for number in range(len(held)))
    assert found.keys() == {"small", "large", "own"}
    assert (found["own"], found["small"] + found["large"]) == (2, 3)


def test_data_sets_are_called_by_their_last_folder_that_is_not_hidden():
    roots = ("a/clips/.precomputed", "b/clips", r"C:\videos\dogs", "c/clips/.x/index-9.json", "/")
    lines = [DataSetLine(root) for root in roots]
    assert data_set_names(lines) == ("clips", "clips (2)", "dogs", "clips (3)", "\\")


def test_data_sets_of_one_name_are_told_apart_by_their_stages():
    lines = ("a/clips", "a/clips: stage 2", "b/clips: stages 2-3", "c/clips: stage 2", "a/dogs")
    names = data_set_names([parse_data_set_line(line) for line in lines])
    assert names[:2] == ("clips (stage 1)", "clips (stage 2)")
    assert names[2:] == ("clips (stages 2-3)", "clips (stage 2) (2)", "dogs")


def test_no_video_is_on_both_sides(configured, small, tmp_path, training_config):
    copy = shutil.copytree(small, tmp_path / "copy")
    (line,) = problems(training_config(small, data={"more_data_sets": [f"{copy}: held_out"]}))
    assert f"{copy} is held out, and {SMALL} of its videos are trained on too" in line


def test_a_data_set_that_is_gone_is_named(configured, tmp_path):
    gone = problems(configured(data={"more_data_sets": [f"{tmp_path / 'gone'}: repeats 2"]}))
    assert any(line.startswith("data.more_data_sets: ") and "gone" in line for line in gone)


@pytest.mark.long
def test_data_sets_of_two_families_are_refused_by_name(training_config, small, root):
    (line,) = problems(training_config(small, data={"more_data_sets": [str(root)]}))
    assert line.startswith(f"data.more_data_sets: {root} is for LTX-2, and {small} for LTX-Video")


def test_references_of_two_scales_are_refused_by_name(mirror_data):
    whole, half = (TrainingDataset(mirror_data, "reference_latents") for _ in range(2))
    half.files.reference_scale = ReferenceScale(2, 1)
    with pytest.raises(DataError, match="are 2 times smaller than its clips") as error:
        require_alike([whole, half])
    assert str(half.root) in str(error.value)


def test_a_data_set_of_another_vae_is_named_by_its_option(configured, large, tmp_path):
    other = shutil.copytree(large, tmp_path / "other")
    index = read_index(other)
    write_index(other / "index.json", replace(index, model={**index.model, "vae_content": "0"}))
    (line,) = problems(configured(data={"more_data_sets": [str(other)]}))
    assert line.startswith("data.more_data_sets: its latents were encoded with another VAE")


def test_more_steps_continue_the_last_stage(configured):
    short = configured(**STAGED, optimization={"steps": 4})
    run(short)
    told: list = []
    train(configured(**STAGED, optimization={"steps": 6}), told.append)
    notices = [each.message for each in told if isinstance(each, Notice)]
    assert any("continuing" in line and "from step 4" in line for line in notices)
    assert [e.stage for e in told if isinstance(e, StepCompleted)] == [2, 2]
