"""What counts in a run's name. Names are permanent: a run that is there must be found again."""

import shutil
import warnings

import pytest
import torch

from ltxv_train_core.config import TrainingConfig, build
from ltxv_train_core.lora.file import write_lora
from ltxv_train_core.lora.lora import LoRALayer
from ltxv_train_core.runs import family, fingerprint
from ltxv_train_core.runs.fingerprint import (
    DRAWN_BY_STEP,
    RECIPE,
    SOUNDS_LIKE_VIDEOS,
    earlier_names,
)

DO_NOT_COUNT = {
    "name",
    "output_dir",
    "data.*",
    "validation.*",
    "checkpoints.*",
    "hub.*",
    "trackers.*",
    "model.model_source",
    "model.text_encoder_source",
    "model.vae_source",
    "model.audio_vae_source",
    "model.text_projection_source",
    "optimization.max_non_finite_steps",
    "optimization.checkpointing_budget",
    "optimization.early_stopping_patience",
    "optimization.ema_on_host",
    "optimization.activations_on_host",
    "acceleration.compile_with_inductor",
    "acceleration.compilation_mode",
    "acceleration.load_text_encoder_in_8bit",
    "acceleration.load_text_encoder_in_4bit",
    "acceleration.blocks_to_offload",
    "acceleration.shard_model",
}


def configuration(**sections):
    return build(TrainingConfig, {"data": {"preprocessed_data_root": "anywhere"}} | sections)


def other(value):
    """A value that is none of the defaults. Nothing but the name sees it."""
    if isinstance(value, bool):
        return not value
    return value + 1 if isinstance(value, int | float) else "something else"


def changed():
    """A configuration for each option, with that one changed."""
    plain = configuration()
    for section in type(plain).model_fields:
        value = getattr(plain, section)
        if not hasattr(value, "model_copy"):
            yield section, plain.model_copy(update={section: other(value)})
            continue
        for option in type(value).model_fields:
            if option != "load_checkpoint":
                new = value.model_copy(update={option: other(getattr(value, option))})
                yield f"{section}.{option}", plain.model_copy(update={section: new})


def names(config, **more):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # a text in the place of a number
        return fingerprint(config, "d", "m", **more), family(config, "d", "m", **more)


def test_every_option_counts_but_those_that_change_no_result():
    plain = names(configuration())
    found = {name: names(config) for name, config in changed()}
    silent = {name for name, new in found.items() if new[0] == plain[0]}
    whole = {line.removesuffix("*") for line in DO_NOT_COUNT if line.endswith(".*")}
    expected = {n for n in found if n in DO_NOT_COUNT or n.partition(".")[0] + "." in whole}
    assert silent == expected
    assert DO_NOT_COUNT - {f"{name}*" for name in whole} <= found.keys()
    assert len(found) - len(silent) > 25
    distinct = {new[0] for name, new in found.items() if name not in silent}
    assert len(distinct) == len(found) - len(silent)
    alike = {name for name, new in found.items() if new[1] == plain[1]}
    assert alike == silent | {"optimization.steps"}


@pytest.mark.parametrize("unlike", [{"one_size": False}, {"dropout": 0.1}, {}])
def test_batches_accumulation_and_processes_count_by_their_product(unlike):
    """Unless the batch size says which clips are together, or dropout is drawn for a whole batch."""
    more = {"one_size": unlike.get("one_size", True)}

    def name(batch_size, parts, processes):
        options = {"batch_size": batch_size, "gradient_accumulation_steps": parts}
        lora = {"dropout": unlike.get("dropout", 0.0)}
        config = configuration(optimization=options, lora=lora)
        return names(config, processes=processes, **more)

    alike = {name(4, 1, 0), name(1, 4, 1), name(2, 1, 2), name(1, 1, 4), name(1, 2, 2)}
    assert len(alike) == (3 if unlike else 1)
    assert name(1, 4, 1) == name(1, 2, 2) == name(1, 1, 4), "the same batches"
    assert name(1, 4, 1) != name(1, 2, 1)


def test_two_processes_a_start_data_and_model_count():
    config = configuration(optimization={"steps": 7})
    told = [
        names(config),
        names(config, processes=2),
        names(config, processes=3),
        names(config, start="a step 3"),
        names(config, start=""),
        (fingerprint(config, "e", "m"), family(config, "e", "m")),
        (fingerprint(config, "d", "n"), family(config, "d", "n")),
    ]
    assert len({each[0] for each in told}) == len({each[1] for each in told}) == len(told)
    assert names(config, processes=1) == names(config, processes=0) == told[0]


def test_a_start_counts_by_its_content(tmp_path):
    path = tmp_path / "lora.safetensors"

    def name(where, value):
        layer = LoRALayer(torch.full((2, 256), value), torch.ones(256, 2), 2.0)
        write_lora(path, {"transformer_blocks.3.attn1.to_q": layer}, {})
        shutil.copy(path, where)
        return names(configuration(model={"load_checkpoint": str(where)}))[0]

    first, moved, changed = (
        name(tmp_path / where, value)
        for where, value in (("a.safetensors", 1.0), ("b.safetensors", 1.0), ("c.safetensors", 2.0))
    )
    assert first == moved
    assert len({first, changed, names(configuration())[0]}) == 3


@pytest.mark.parametrize(
    ("options", "more", "written"),
    [
        ({}, {}, ("1fa6805c14e7", "1fa6805c14e7")),
        ({"processes": 1}, {}, ("1fa6805c14e7", "1fa6805c14e7")),
        ({"processes": 2}, {}, ("616997807b9e", "616997807b9e")),
        ({"start": "a step 3"}, {}, ("45d5de8262bb", "45d5de8262bb")),
        ({"processes": 4, "start": "a"}, {"seed": 1}, ("24706fa389ed", "24706fa389ed")),
        ({}, {"optimization": {"steps": 7}, "lora": {"rank": 8}}, ("236991bcc797", "2a56a03659b4")),
    ],
)
def test_names_of_earlier_versions_that_are_on_users_disks(options, more, written):
    assert names(configuration(**more), **options, recipe=1) == written


@pytest.mark.parametrize(
    ("options", "more", "written"),
    [
        ({}, {}, ("8d318aca912c", "8d318aca912c")),
        ({"processes": 2}, {"optimization": {"batch_size": 1}}, ("8d318aca912c", "8d318aca912c")),
        ({"start": "a step 3", "one_size": False}, {}, ("1689f84b88f3", "1689f84b88f3")),
        ({}, {"optimization": {"steps": 7}, "lora": {"rank": 8}}, ("d3b419749df1", "820c04c4b47a")),
    ],
)
def test_names_that_are_on_users_disks(options, more, written):
    assert names(configuration(**more), **options) == written


def test_a_run_is_looked_for_by_the_names_of_each_version():
    """The noise was drawn by step once, and the patience was part of the name."""
    plain = configuration()
    assert earlier_names(fingerprint, plain, "d", "m") == ("1fa6805c14e7",)
    patient = configuration(optimization={"early_stopping_patience": 3})
    assert fingerprint(patient, "d", "m") == fingerprint(plain, "d", "m")
    by_step, by_patience = earlier_names(fingerprint, patient, "d", "m")
    assert by_step == "1fa6805c14e7"
    assert by_patience == fingerprint(plain, "d", "m", patience=3)
    assert by_patience not in (by_step, fingerprint(plain, "d", "m"))


def test_numbers_of_recipes_stand_in_the_runs_of_users():
    assert (DRAWN_BY_STEP, SOUNDS_LIKE_VIDEOS, RECIPE) == (1, 2, 3)
