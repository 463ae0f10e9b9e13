"""Runs with adapters other than a plain LoRA go every way that a run with one goes."""

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from ltxv_train_core.config import yaml_file
from ltxv_train_core.errors import ConfigurationError
from ltxv_train_core.lora.file import read_adapter
from ltxv_train_core.training.run_plan import plan_run
from ltxv_train_core.training.trainer import train
from tests.core.training.test_joint_run import clips, configured, root
from tests.core.training.test_validation import distance, read
from tests.helpers.short_run import run
from tests.helpers.together import train_together

__all__ = ["clips", "root"]

ADAPTERS = {
    "rslora": {},
    "dora": {},
    "lokr": {"lokr_factor": 8},
    "loha": {},
    "oft": {"rank": 8},
}
parametrize = pytest.mark.parametrize("adapter", ADAPTERS)
one_quickly = pytest.mark.parametrize(
    "adapter",
    [each if each == "dora" else pytest.param(each, marks=pytest.mark.long) for each in ADAPTERS],
)
"""All of them, but for one among the long tests."""
SHORT = {"steps": 3, "batch_size": 1, "learning_rate": 1e-2}


def sections(adapter: str, **others) -> dict:
    lora = {"adapter": adapter, "rank": 4, "alpha": 8, **ADAPTERS[adapter]}
    return {"lora": lora, "optimization": SHORT, **others}


def same(ours, theirs) -> bool:
    ours, theirs = load_file(ours.lora_file), load_file(theirs.lora_file)
    return ours.keys() == theirs.keys() and all(torch.equal(ours[n], theirs[n]) for n in ours)


@one_quickly
def test_a_stopped_run_goes_on_to_the_same_bytes(training_config, tmp_path, adapter):
    options = sections(adapter)
    if adapter != "oft":
        options["lora"]["dropout"] = 0.1
    options["optimization"] = SHORT | {"ema_decay": 0.9, "scheduler_type": "cosine"}
    whole, losses, _ = run(training_config(**options))
    assert len(set(losses)) == 3
    half = training_config(**options, output_dir=str(tmp_path / "two"))
    run(half, stop_after=2)
    torch.rand(7)
    full, _, _ = run(half)
    assert same(full, whole)
    assert whole.ema_file
    assert load_file(whole.ema_file).keys() == load_file(whole.lora_file).keys()
    with safe_open(whole.lora_file, "pt") as file:
        told = file.metadata()
    rank = str(options["lora"]["rank"])
    assert (told["adapter"], told["rank"], told["alpha"]) == (adapter, rank, "8")


@one_quickly
def test_it_learns_and_a_run_goes_on_from_its_file(training_config, adapter):
    options = sections(adapter)
    result, _, notices = run(training_config(**options))
    assert not [line for line in notices if "diffusers" in line]
    start = {"load_checkpoint": str(result.lora_file)}
    still = {"optimization": {**SHORT, "steps": 1, "learning_rate": 1e-12}}
    again, _, _ = run(training_config(**options | still, model=start))
    before, after = (read_adapter(each.lora_file).lora for each in (result, again))
    assert before.keys() == after.keys()
    for name, layer in before.items():
        base = torch.eye(256)
        assert torch.allclose(layer.added(base), after[name].added(base), atol=1e-5)


@one_quickly
@pytest.mark.parametrize(
    "acceleration",
    [
        {"quantization": "int8-quanto", "blocks_to_offload": 1, "mixed_precision_mode": "fp16"},
        {"quantization": "int4-quanto", "mixed_precision_mode": "bf16"},
        {"blocks_to_offload": 2},
    ],
    ids=lambda options: "-".join(map(str, options.values())),
)
def test_every_way_to_save_memory_trains_nearly_the_same(training_config, adapter, acceleration):
    options = sections(adapter)
    plain, losses, _ = run(training_config(**options, name="plain"))
    exact = "quantization" not in acceleration
    options["optimization"] = SHORT | {"enable_gradient_checkpointing": exact}
    found, others, _ = run(training_config(**options, acceleration=acceleration))
    assert others == pytest.approx(losses, rel=1e-5 if exact else 0.03)
    tensors, wanted = load_file(found.lora_file), load_file(plain.lora_file)
    assert all(torch.isfinite(value).all() for value in tensors.values())
    if exact:
        assert all(torch.allclose(tensors[n], wanted[n], atol=1e-4) for n in wanted)


@pytest.mark.long
@parametrize
def test_two_processes_are_one_with_both_clips(training_config, tmp_path, adapter):
    losses = []
    for count, batch_size in ((1, 2), (2, 1)):
        options = sections(adapter)
        options["optimization"] = SHORT | {"batch_size": batch_size}
        config = training_config(**options, output_dir=str(tmp_path / str(count)))
        yaml_file.save(config, tmp_path / "config.yaml")
        ran = train_together(tmp_path / "config.yaml", count)
        assert ran.returncode == 0, ran.stderr
        losses.append(load_file(ran.stdout.splitlines()[-1]))
    ours, theirs = losses
    assert all(torch.allclose(ours[name], theirs[name], atol=1e-3) for name in ours)


@pytest.mark.long
@one_quickly
def test_video_and_sound(root, tmp_path, adapter):
    options = sections(adapter)
    whole, _, _ = run(configured(root, tmp_path / "whole", **options))
    run(configured(root, tmp_path / "half", **options), stop_after=1)
    full, _, _ = run(configured(root, tmp_path / "half", **options))
    assert same(full, whole)
    assert any("audio_attn1" in name for name in load_file(whole.lora_file))


@pytest.mark.long
@parametrize
def test_samples_show_it(training_config, adapter):
    """Those of a run that learns fast differ from those of one that learns nothing."""
    films = []
    for rate in (1e-12, 1e-12, 3e-2):
        config = training_config(
            **sections(adapter) | {"optimization": SHORT | {"learning_rate": rate}},
            validation={
                "prompts": ["a red square"],
                "video_dims": [64, 64, 9],
                "interval": 3,
                "inference_steps": 2,
            },
            name=f"run-{len(films)}",
        )
        (film,) = (train(config).run_folder / "samples" / "000003").glob("*.mp4")
        films.append(read(film))
    same, other = distance(films[0], films[1]), distance(films[0], films[2])
    assert same < 0.5
    assert other > 1.5


@pytest.mark.parametrize("adapter", ["dora", "lokr", "loha", "oft"])
def test_what_it_can_not_be_trained_with_is_named(training_config, adapter):
    with pytest.raises(ConfigurationError, match=f"diffusers reads no {adapter}"):
        training_config(**sections(adapter), checkpoints={"write_diffusers": True})
    with pytest.raises(ConfigurationError, match=r"acceleration\.shard_model: a base"):
        training_config(**sections(adapter), acceleration={"shard_model": True})


def test_a_file_of_another_adapter_is_refused_before_a_model_is_loaded(training_config):
    options = sections("loha")
    result = train(training_config(**options))
    start = {"load_checkpoint": str(result.lora_file)}
    for adapter, told in (("lokr", "is a file of LoHa"), ("rslora", "only a plain LoRA")):
        with pytest.raises(ConfigurationError, match=told):
            plan_run(training_config(**sections(adapter), model=start))


def test_a_plain_lora_keeps_the_names_of_its_runs(training_config):
    named = {
        adapter: plan_run(training_config(lora={"adapter": adapter})).run.name
        for adapter in ("lora", *ADAPTERS)
        if adapter != "oft"
    }
    assert named["lora"] == plan_run(training_config()).run.name
    assert len(set(named.values())) == len(named)
