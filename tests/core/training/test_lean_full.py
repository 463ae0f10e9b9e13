"""Full training in less memory: weights in bfloat16, released gradients, an average in host memory."""

import pytest
import torch
from safetensors.torch import load_file

from ltxv_train_core.config import TrainingConfig, ignored
from ltxv_train_core.errors import ConfigurationError
from ltxv_train_core.training.parallel import gradient_problems, sharding_problems
from tests.helpers.short_run import run

LEAN = {"trained_weights": "bf16", "release_gradients": True, "ema_on_host": True}
BF16 = {"mixed_precision_mode": "bf16"}


def lean(training_config, steps, **sections) -> TrainingConfig:
    options = {"steps": steps, "batch_size": 1, "learning_rate": 1e-4, "ema_decay": 0.9, **LEAN}
    options |= sections.pop("optimization", {})
    return training_config(
        model={"training_mode": "full"}, optimization=options, acceleration=BF16, **sections
    )


def same(ours, theirs):
    ours, theirs = load_file(ours), load_file(theirs)
    return ours.keys() == theirs.keys() and all(torch.equal(ours[k], theirs[k]) for k in theirs)


@pytest.mark.long
@pytest.mark.parametrize("checkpointing", [False, True])
def test_an_interrupted_run_goes_on_to_the_same_bits(training_config, tmp_path, checkpointing):
    options = {"enable_gradient_checkpointing": checkpointing}
    whole, losses, _ = run(lean(training_config, 3, optimization=options))
    two = lean(training_config, 3, optimization=options, output_dir=str(tmp_path / "two"))
    torch.rand(17)  # what torch has drawn before doesn't matter
    run(two, stop_after=1)
    torch.rand(5)
    resumed, rest, _ = run(two)
    assert rest == losses[1:]
    assert same(resumed.lora_file, whole.lora_file)
    assert same(resumed.ema_file, whole.ema_file)
    checkpoints = sorted((whole.run_folder / "checkpoints").iterdir())
    weights = load_file(checkpoints[-1] / "weights.safetensors")
    assert {value.dtype for value in weights.values()} == {torch.bfloat16}


def test_released_gradients_change_nothing_but_the_clipping(training_config):
    """Without clipping, weights that move one by one move as together."""
    results = []
    for released in (False, True):
        options = {"steps": 3, "max_grad_norm": 0.0, "release_gradients": released}
        config = training_config(model={"training_mode": "full"}, optimization=options)
        result, losses, _ = run(config)
        results.append((load_file(result.lora_file), losses))
    (together, losses), (apart, others) = results
    assert others == losses
    assert all(torch.equal(together[name], apart[name]) for name in together)


def test_where_the_average_lies_changes_nothing(training_config):
    found = []
    for on_host in (False, True):
        options = {"steps": 2, "ema_decay": 0.9, "ema_on_host": on_host}
        found.append(run(training_config(optimization=options, name=f"run{on_host}"))[0])
    assert same(found[0].ema_file, found[1].ema_file)
    names = [each.run_folder.name.partition("-")[2] for each in found]
    assert names[0] == names[1], "a run goes on with the other"


@pytest.mark.parametrize(
    ("optimization", "acceleration", "told"),
    [
        ({"gradient_accumulation_steps": 2}, {}, "gradient_accumulation_steps 2"),
        ({"optimizer_type": "prodigy", "learning_rate": 1.0}, {}, "optimizer_type prodigy"),
        (
            {"optimizer_type": "adamw_schedulefree", "scheduler_type": "constant"},
            {},
            "optimizer_type adamw_schedulefree",
        ),
        ({}, {"mixed_precision_mode": "fp16"}, "mixed_precision_mode fp16"),
    ],
)
def test_what_released_gradients_exclude_is_named(
    training_config, optimization, acceleration, told
):
    with pytest.raises(ConfigurationError, match=told) as raised:
        training_config(
            optimization={"release_gradients": True, **optimization}, acceleration=acceleration
        )
    assert "release_gradients" in str(raised.value)


@pytest.mark.parametrize(
    ("optimization", "mode", "told"),
    [
        ({"optimizer_type": "adamw8bit"}, "bf16", "optimizer_type adamw8bit"),
        ({}, "no", "mixed_precision_mode no"),
        ({}, "fp16", "mixed_precision_mode fp16"),
    ],
)
def test_what_weights_in_bfloat16_exclude_is_named(training_config, optimization, mode, told):
    with pytest.raises(ConfigurationError, match=told):
        training_config(
            model={"training_mode": "full"},
            optimization={"trained_weights": "bf16", **optimization},
            acceleration={"mixed_precision_mode": mode},
        )


def test_several_processes_refuse_all_three(training_config):
    config = lean(training_config, 1)
    (line,) = gradient_problems(config)
    assert line.startswith("optimization.release_gradients: ")
    lines = "\n".join(sharding_problems(config))
    assert "optimization.trained_weights bf16: " in lines
    assert "optimization.ema_on_host: " in lines


def test_options_without_effect_are_told(training_config):
    config = training_config(optimization={"trained_weights": "bf16", "ema_on_host": True})
    told = [line.partition(":")[0] for line in ignored(config)]
    assert {"optimization.trained_weights", "optimization.ema_on_host"} <= {*told}


@pytest.mark.minutes
def test_a_lean_run_learns_as_well_as_one_in_float32(training_config):
    """Within a few percent of what it has lost at its end, mean of the last steps."""
    ends = []
    for options in ({}, LEAN):
        narrow = {"timestep_sampling_mode": "uniform", "timestep_sampling_params": {"min": 0.5}}
        config = training_config(
            model={"training_mode": "full"},
            optimization={
                "steps": 120,
                "batch_size": 4,
                "learning_rate": 1e-4,
                "ema_decay": 0.9,
                **options,
            },
            acceleration=BF16,
            flow_matching=narrow,
        )
        losses = run(config)[1]
        ends.append((sum(losses[:10]) / 10, sum(losses[-20:]) / 20))
    (_, exact), (first, ours) = ends
    assert ours < 0.5 * first, ends
    assert ours == pytest.approx(exact, rel=0.05), ends
