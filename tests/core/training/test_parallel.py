"""Several processes train what one would: by DistributedDataParallel, and with the weights in parts by FSDP2."""

import os
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from ltxv_train_core.config import yaml_file
from ltxv_train_core.errors import ConfigurationError
from ltxv_train_core.runs import RunFolder
from ltxv_train_core.training.run_plan import plan_run
from ltxv_train_core.training.trainer import train
from tests.helpers.together import train_together

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
STEPS = 8
RATES = {"learning_rate": 1e-3, "scheduler_type": "constant"}


def frames_of(path):
    with av.open(str(path)) as file:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in file.decode(video=0)])


@pytest.fixture
def outcome(training_config, tmp_path):
    """Trains by some processes; gives the losses of the steps and what was trained."""

    def get(batch_size, parts, processes, **sections):
        options = {"batch_size": batch_size, "gradient_accumulation_steps": parts, "steps": STEPS}
        sections["optimization"] = RATES | options | sections.pop("optimization", {})
        folder = tmp_path / f"{batch_size}-{parts}-{processes}"
        config = training_config(output_dir=str(folder), **sections)
        if processes == 1:
            file = train(config).lora_file
        else:
            yaml_file.save(config, tmp_path / "config.yaml")
            ran = train_together(tmp_path / "config.yaml", processes)
            assert ran.returncode == 0, ran.stderr
            file = Path(ran.stdout.splitlines()[-1])
        return [each.loss for each in RunFolder(file.parents[1]).metrics()], load_file(file)

    return get


def assert_alike(ways, trained_within=2e-4):
    (first, weights), *others = ways
    for losses, other in others:
        print([f"{loss:.6f}" for loss in losses])
        assert losses == pytest.approx(first, abs=1e-4)
        assert weights.keys() == other.keys()
        for name, value in weights.items():
            assert torch.allclose(value, other[name], atol=trained_within), name
    print([f"{loss:.6f}" for loss in first])
    assert len(first) == STEPS
    assert max(first) - min(first) > 0.1, "the steps differ"


CONDITIONS = {"conditioning": {"first_frame_conditioning_p": 0.5, "caption_dropout_p": 0.3}}


def test_a_batch_of_two_and_two_of_one_train_the_same(outcome):
    assert_alike([outcome(2, 1, 1, **CONDITIONS), outcome(1, 2, 1, **CONDITIONS)])


@needs_fork
@pytest.mark.long
def test_two_processes_train_the_same_as_one(outcome):
    """The three ways to make a batch of two."""
    ways = ((2, 1, 1), (1, 2, 1), (1, 1, 2))
    assert_alike([outcome(*way, **CONDITIONS) for way in ways])


@needs_fork
@pytest.mark.kills
def test_three_processes_that_accumulate_train_the_same_as_one(outcome):
    assert_alike([outcome(6, 1, 1), outcome(1, 2, 3)])


@needs_fork
@pytest.mark.kills
@pytest.mark.parametrize(("processes", "batch_size"), [(2, 1), (3, 1)])
def test_weights_in_parts_train_the_same(outcome, processes, batch_size):
    """Full training, with an average, saved and resumed whole."""
    sections = {
        "model": {"training_mode": "full"},
        "optimization": {"learning_rate": 1e-5, "ema_decay": 0.9},
        "checkpoints": {"interval": 3},
    }
    assert_alike([outcome(processes, 1, 1, **sections), outcome(1, 1, processes, **sections)])


@needs_fork
@pytest.mark.kills
def test_a_base_in_parts_trains_the_same_lora(outcome):
    plain = outcome(2, 1, 1)
    assert_alike([plain, outcome(1, 1, 2, acceleration={"shard_model": True})])


@needs_fork
@pytest.mark.kills
@pytest.mark.parametrize("is_sharded", [False, True], ids=["whole", "parts"])
def test_held_out_clips_are_measured_alike_and_end_all_processes(
    training_config, tmp_path, is_sharded
):
    """With the average of the weights too. A rate at which nothing is gained ends the run for all of them."""
    options = {**RATES, "learning_rate": 0.3, "steps": 12, "ema_decay": 0.8}

    def config(batch_size, folder):
        return training_config(
            output_dir=str(tmp_path / folder),
            optimization=options | {"batch_size": batch_size, "early_stopping_patience": 1},
            acceleration={"shard_model": is_sharded},
            checkpoints={"interval": 2},
            data={"held_out_clips": 2},
        )

    alone = train(config(2, "alone"))
    yaml_file.save(config(1, "together"), tmp_path / "config.yaml")
    ran = train_together(tmp_path / "config.yaml", 2)
    assert ran.returncode == 0, ran.stderr
    run = RunFolder(Path(ran.stdout.splitlines()[-1]).parents[1])
    found, expected = run.held_out(), RunFolder(alone.run_folder).held_out()
    print([(each.step, each.loss, each.average_loss) for each in found])
    assert [each.step for each in found] == [each.step for each in expected]
    for ours, theirs in zip(found, expected, strict=True):
        assert list(ours.clips) == [pytest.approx(row, rel=1e-2) for row in theirs.clips]
        assert list(ours.average) == [pytest.approx(row, rel=1e-2) for row in theirs.average]
    assert run.is_finished()
    assert run.written_state().steps == alone.steps < options["steps"]


@needs_fork
@pytest.mark.kills
@pytest.mark.parametrize("mode", ["lora", "full"])
def test_weights_in_parts_are_sampled(training_config, tmp_path, mode):
    """By all processes together, with the average of the weights, before and between steps that train on."""
    validation = {
        "prompts": ["a red circle moves up", "a blue square"],
        "video_dims": [64, 64, 9],
        "inference_steps": 2,
        "interval": 2,
        "stg_scale": 1.0,
    }
    rate = {"lora": 1e-2, "full": 3e-4}[mode]
    options = {**RATES, "learning_rate": rate, "steps": 4, "ema_decay": 0.8}

    def config(batch_size, folder):
        return training_config(
            output_dir=str(tmp_path / folder),
            model={"training_mode": mode},
            optimization=options | {"batch_size": batch_size},
            acceleration={"shard_model": True},
            validation=validation,
        )

    alone = train(config(2, "alone"))
    yaml_file.save(config(1, "parts"), tmp_path / "config.yaml")
    ran = train_together(tmp_path / "config.yaml", 2)
    assert ran.returncode == 0, ran.stderr
    file = Path(ran.stdout.splitlines()[-1])
    losses = [
        [each.loss for each in RunFolder(folder).metrics()]
        for folder in (file.parents[1], alone.run_folder)
    ]
    print(losses)
    assert losses[0] == pytest.approx(losses[1], abs=1e-4), "samples leave the weights alone"
    found, expected = (
        {path.relative_to(folder): path for path in sorted(folder.glob("samples/*/*.mp4"))}
        for folder in (file.parents[1], alone.run_folder)
    )
    assert found.keys() == expected.keys()
    assert len(found) == 3 * 2
    first: dict = {}
    for name, path in expected.items():
        ours, theirs = (frames_of(each).astype(float) for each in (found[name], path))
        assert abs(ours - theirs).mean() < 3, name  # the encoder is lossy
        earlier = first.setdefault(name.name, theirs)
        print(name, abs(ours - theirs).mean(), abs(theirs - earlier).mean())
        if name.parts[1] == "000004":
            assert abs(theirs - earlier).mean() > 4, "training shows"


@needs_fork
@pytest.mark.kills
@pytest.mark.parametrize("mode", ["lora", "full"])
@pytest.mark.parametrize(("first", "then"), [(1, 2), (2, 1)])
def test_a_run_is_resumed_by_another_number_of_processes(
    training_config, tmp_path, mode, first, then
):
    """Of one name: some processes begin, another number ends."""
    rate = {"lora": 1e-3, "full": 1e-5}[mode]

    def config(batch_size, folder, steps=6):
        options = {"batch_size": batch_size, "steps": steps, **RATES, "learning_rate": rate}
        return training_config(
            output_dir=str(tmp_path / folder),
            optimization=options,
            model={"training_mode": mode},
            checkpoints={"interval": 3},
        )

    def by(count, *options):
        """Trains two samples a step in so many processes; the LoRA file."""
        file = tmp_path / "config.yaml"
        yaml_file.save(config(2 // count, "both"), file)
        ran = train_together(file, count, *options)
        assert ran.returncode == 0, ran.stderr
        return Path(ran.stdout.splitlines()[-1])

    whole = load_file(train(config(2, "whole")).lora_file)
    half = by(first, "--stop", "4")
    run = plan_run(config(2 // then, "both"), processes=then).run
    assert half == run.lora_file(4), "of one name"
    file = by(then)
    assert file == run.lora_file(6)
    assert [each.step for each in run.metrics()] == [1, 2, 3, 4, 5, 6]
    for name, value in load_file(file).items():
        assert torch.allclose(value, whole[name], atol=2e-4), name


@needs_fork
@pytest.mark.kills
def test_compiled_blocks_train_the_same_in_two_processes(training_config, tmp_path):
    """DistributedDataParallel around blocks that are compiled, without inductor, which takes minutes."""

    def config(batch_size, folder, **acceleration):
        return training_config(
            output_dir=str(tmp_path / folder),
            optimization=RATES | {"batch_size": batch_size, "steps": 4},
            acceleration=acceleration,
            conditioning=CONDITIONS["conditioning"],
        )

    plain = RunFolder(train(config(2, "plain")).run_folder).metrics()
    compiled = {"compile_with_inductor": True, "compilation_mode": "default"}
    yaml_file.save(config(1, "compiled", **compiled), tmp_path / "config.yaml")
    ran = train_together(tmp_path / "config.yaml", 2, "--aot-eager")
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.count("a graph is compiled") >= 2, "by each process"
    found = RunFolder(Path(ran.stdout.splitlines()[-1]).parents[1]).metrics()
    assert [e.loss for e in found] == pytest.approx([e.loss for e in plain], abs=1e-4)


@pytest.mark.parametrize(
    ("sections", "named"),
    [
        ({"acceleration": {"quantization": "int8-quanto"}}, "acceleration.quantization"),
        ({"acceleration": {"blocks_to_offload": 2}}, "acceleration.blocks_to_offload"),
        ({"acceleration": {"mixed_precision_mode": "fp16"}}, "mixed_precision_mode fp16"),
        ({"optimization": {"optimizer_type": "adafactor"}}, "optimizer_type adafactor"),
    ],
)
def test_what_can_not_be_shared_is_refused_by_name(training_config, sections, named):
    acceleration = sections.get("acceleration", {}) | {"shard_model": True}
    config = training_config(**sections | {"acceleration": acceleration})
    with pytest.raises(ConfigurationError, match=f"{named}: can't be used with a model whose"):
        plan_run(config, processes=2)
    assert plan_run(config).state.processes == 0, "one process has all of it"
