"""Keeping what the base could: its own predictions as a second target, and clips of a prior data set."""

import re
import shutil
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file

from ltxv_train_core.config import TrainingConfig, build, yaml_file
from ltxv_train_core.datasets.dataset import TrainingDataset
from ltxv_train_core.datasets.index import read_index, write_index
from ltxv_train_core.errors import ConfigurationError
from ltxv_train_core.families.ltxv.miniature.datasets import generate
from ltxv_train_core.preprocessing.preprocess import PreprocessSettings, preprocess
from ltxv_train_core.runs import RunFolder
from ltxv_train_core.training.preflight import problems
from ltxv_train_core.training.trainer import train
from tests.core.conftest import MINIATURE
from tests.core.training.test_adapters import same
from tests.core.training.test_joint_run import clips, configured, root
from tests.core.training.test_moved import moved_on
from tests.helpers.short_run import run
from tests.helpers.together import train_together

__all__ = ["clips", "root"]

FAST = {"steps": 4, "batch_size": 2, "learning_rate": 1e-2}
BLANK = {"preservation": "blank_prompt"}
DOP = {"preservation": "differential_output", "preservation_class": "plain"}
WAYS = {"blank": BLANK, "dop": DOP, "prior": {}}


def _triggered(name, folder, clips, token):
    source = generate(name, folder, clips=clips)
    return preprocess(
        PreprocessSettings(source.metadata, MINIATURE, "96x96x17", id_token=token)
    ).root


@pytest.fixture(scope="module")
def triggered(tmp_path_factory):
    """Clips whose captions begin with a trigger word."""
    return _triggered("stripes", tmp_path_factory.mktemp("zorp"), 4, "zorp")


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """Clips as the base makes them."""
    return _triggered("plain", tmp_path_factory.mktemp("plain"), 3, "")


@pytest.fixture
def configured_for(training_config, triggered, plain):
    def build_one(way, **sections):
        options = FAST | WAYS.get(way, {}) | sections.pop("optimization", {})
        data = {"prior_data_root": str(plain)} if way == "prior" else {}
        return training_config(
            triggered, optimization=options, data=data | sections.pop("data", {}), **sections
        )

    return build_one


@pytest.mark.parametrize("way", WAYS)
def test_each_changes_the_result_and_a_stopped_run_goes_on_to_the_same_bytes(
    configured_for, tmp_path, way
):
    dropout = {"lora": {"rank": 4, "alpha": 4, "dropout": 0.1}}
    whole, losses, _ = run(configured_for(way, **dropout))
    half = configured_for(way, **dropout, output_dir=str(tmp_path / "two"))
    run(half, stop_after=2)
    again, _, _ = run(half)
    assert same(whole, again)
    plain_run, plain_losses, _ = run(configured_for("none", **dropout))
    assert not same(whole, plain_run)
    assert losses[0] == plain_losses[0], "the loss that is told is that of what is to be learned"
    assert whole.run_folder.name != plain_run.run_folder.name


@pytest.mark.long
@pytest.mark.parametrize("way", WAYS)
def test_accumulated_gradients_are_those_of_a_larger_batch(configured_for, way):
    together, _, _ = run(configured_for(way, name="together"))
    parts = {"batch_size": 1, "gradient_accumulation_steps": 2}
    apart, _, _ = run(configured_for(way, name="apart", optimization=parts))
    first, second = load_file(together.lora_file), load_file(apart.lora_file)
    for name in first:
        assert torch.allclose(first[name], second[name], atol=2e-4), name


@pytest.mark.long
def test_the_second_target_counts_as_much_as_its_weight_says(configured_for):
    def lora(way, weight, name):
        options = {"preservation_weight": weight, "prior_weight": weight, "steps": 2}
        options |= {} if weight else {"preservation_weight": 1.0, "prior_weight": 1.0}
        return load_file(run(configured_for(way, name=name, optimization=options))[0].lora_file)

    plain_one = lora("none", 0, "none")
    for way in WAYS:
        light, heavy = lora(way, 1e-6, f"{way}-light"), lora(way, 10.0, f"{way}-heavy")

        def difference(one):
            return sum((one[name] - plain_one[name]).norm().item() for name in one)

        assert difference(light) < 0.1 * difference(heavy), way


@pytest.mark.long
@pytest.mark.parametrize("options", [BLANK, DOP], ids=["blank", "dop"])
def test_a_model_with_sound_learns_otherwise_with_it(root, tmp_path, options):
    values = configured(root, tmp_path).model_dump(mode="json")
    captions = [each.text for item in read_index(root).items for each in item.captions]
    common = set.intersection(*(set(re.findall(r"\w+", text)) for text in captions))
    values["optimization"] |= {"steps": 2}
    other, losses, _ = run(build(TrainingConfig, values))
    values["optimization"] |= options
    if options is DOP:
        values["optimization"]["preservation_trigger"] = min(common)
    kept, again, _ = run(build(TrainingConfig, values))
    assert losses[0] == again[0]
    assert not same(kept, other)


@pytest.mark.long
@pytest.mark.parametrize("way", WAYS)
def test_two_processes_train_the_same(configured_for, tmp_path, way):
    config = configured_for(way, optimization={"batch_size": 1, "steps": 2})
    yaml_file.save(config, tmp_path / "config.yaml")
    done = train_together(tmp_path / "config.yaml", 2)
    assert done.returncode == 0, done.stderr
    ours = load_file(done.stdout.splitlines()[-1])
    alone = configured_for(way, optimization={"steps": 2}, output_dir=str(tmp_path / "alone"))
    theirs = load_file(run(alone)[0].lora_file)
    assert all(torch.allclose(ours[n], theirs[n], atol=2e-4) for n in theirs)


def test_captions_without_the_trigger_word_are_refused_by_name(configured_for, stripes_data):
    wrong = configured_for("dop", optimization={"preservation_trigger": "blorp"})
    (line,) = problems(wrong)
    assert "4 of 4 captions lack the trigger word 'blorp'" in line
    with pytest.raises(ConfigurationError, match="lack the trigger word"):
        train(wrong)
    none = configured_for("dop", data={"preprocessed_data_root": str(stripes_data)})
    assert "preprocessed without a trigger word (id_token)" in problems(none)[0]


def test_a_data_set_without_an_empty_caption_has_no_blank_prompt(
    configured_for, stripes_data, tmp_path
):
    own = shutil.copytree(stripes_data, tmp_path / "own")
    write_index(own / "index.json", replace(read_index(own), empty_caption=None))
    (line,) = problems(configured_for("blank", data={"preprocessed_data_root": str(own)}))
    assert "has no embedding of the empty caption" in line


@pytest.mark.parametrize(
    ("sections", "told"),
    [
        ({"model": {"training_mode": "full"}}, "model.training_mode full"),
        ({"optimization": {"release_gradients": True}}, "release_gradients"),
        ({"conditioning": {"caption_dropout_p": 0.1}}, "caption_dropout_p 0.1"),
        ({"conditioning": {"mode": "reference_video"}}, "conditioning.mode reference_video"),
        ({"acceleration": {"shard_model": True}}, "acceleration.shard_model"),
        ({"optimization": {"preservation": "differential_output"}}, "preservation_class is empty"),
    ],
    ids=lambda each: str(each)[:30],
)
def test_what_it_does_not_go_with_is_said(configured_for, sections, told):
    with pytest.raises(ConfigurationError, match=told):
        configured_for("blank", **sections)


def test_a_prior_data_set_is_another_run_and_must_be_there(configured_for, tmp_path, mirror_data):
    missing = configured_for("prior", data={"prior_data_root": str(tmp_path / "gone")})
    assert problems(missing)[0].startswith("data.prior_data_root: ")
    folders = {
        run(configured_for("prior", optimization={"steps": 1}, data=data))[0].run_folder.name
        for data in ({}, {"prior_data_root": str(mirror_data)})
    }
    assert len(folders) == 2


@pytest.mark.minutes
def test_each_keeps_what_it_is_to_keep_and_most_of_the_effect_stays(training_config, tmp_path):
    """Of a LoRA trained four ways: measured on clips that none of them trains on, and on clips as the base makes them."""
    stripes = _triggered("stripes", tmp_path / "stripes", 12, "zorp")
    other = _triggered("plain", tmp_path / "plain", 12, "")
    held, of_base, gained = {}, {}, {}
    for way, options in {"none": {}, **WAYS}.items():
        config = training_config(
            stripes,
            name=way,
            lora={"rank": 16, "alpha": 16},
            optimization={"steps": 50, "batch_size": 4, "learning_rate": 2e-3, **options},
            conditioning={"first_frame_conditioning_p": 0.0},
            flow_matching={"timestep_sampling_params": {"std": 1.2, "shift": 0.4}},
            data={"held_out_clips": 2, "prior_data_root": str(other) if way == "prior" else None},
        )
        trained = train(config)
        measured = RunFolder(trained.run_folder).held_out()
        gained[way] = measured[0].loss - measured[-1].loss
        held[way] = measured[-1].moved_without_prompt
        of_base[way] = moved_on(config, TrainingDataset(other), trained.lora_file)
    told = gained, held, of_base
    assert held["none"] > 0.5, told
    assert held["blank"] < 0.1 * held["none"], told
    assert held["dop"] < 0.5 * held["none"], told
    assert of_base["dop"] < 0.7 * of_base["none"], told
    assert of_base["prior"] < 0.25 * of_base["none"], told
    for way, least in {"blank": 0.85, "dop": 0.5, "prior": 0.85}.items():
        assert gained[way] > least * gained["none"], told
