"""Runs whose layers differ in rank and learning rate."""

import pytest
import torch
from safetensors.torch import load_file

from ltxv_train_core.errors import ConfigurationError
from ltxv_train_core.runs import RunFolder
from ltxv_train_core.training.run_plan import plan_run
from ltxv_train_core.training.trainer import train
from tests.helpers.short_run import run

RULES = ["block 0: rank 8", "block 1: off", "block 2: rate 0.5", "block 3 attn2: rank 2, rate 4"]
LORA = {
    "rank": 4,
    "alpha": 8,
    "target_modules": ["attn1.to_q", "attn2.to_q"],
    "layer_rules": RULES,
    "lora_plus_ratio": 16,
}
SHORT = {"steps": 3, "batch_size": 1, "learning_rate": 1e-4, "scheduler_type": "constant"}


def sections(**options) -> dict:
    return {"lora": LORA, "optimization": SHORT | options}


def same(ours, theirs) -> bool:
    ours, theirs = load_file(ours.lora_file), load_file(theirs.lora_file)
    return ours.keys() == theirs.keys() and all(torch.equal(ours[n], theirs[n]) for n in ours)


def test_the_first_step_of_adamw_is_as_long_as_each_layers_rate(training_config):
    """Its moments cancel there: lora_B, which begins with zeros, moves by its rate. alpha / rank is 2."""
    result = train(training_config(**sections(steps=1, max_grad_norm=0)))
    tensors = load_file(result.lora_file)
    ranks, rates = {}, {}
    for name, value in tensors.items():
        _, block, layer = name.removeprefix("diffusion_model.").split(".")[:3]
        if "lora_B" in name:
            ranks[int(block), layer] = value.shape[1]
            rates[int(block), layer] = value.abs().median().item() / 2 / 1e-4 / 16
    assert ranks == {
        **{(0, "attn1"): 8, (0, "attn2"): 8, (2, "attn1"): 4, (2, "attn2"): 4},
        **{(3, "attn1"): 4, (3, "attn2"): 2},
    }
    expected = dict.fromkeys(ranks, 1.0) | {(2, "attn1"): 0.5, (2, "attn2"): 0.5, (3, "attn2"): 4.0}
    assert rates == pytest.approx(expected, rel=0.01)
    (metrics,) = RunFolder(result.run_folder).metrics()
    assert metrics.learning_rate == pytest.approx(1e-4), "that of the configuration is told"


@pytest.mark.parametrize(
    "optimizer",
    [
        "adamw",
        *(
            pytest.param(each, marks=pytest.mark.long)
            for each in ("adafactor", "adamw_schedulefree", "adamw8bit")
        ),
    ],
)
def test_a_stopped_run_goes_on_to_the_same_bytes(training_config, tmp_path, optimizer):
    options = sections(optimizer_type=optimizer)
    whole, _, _ = run(training_config(**options))
    half = training_config(**options, output_dir=str(tmp_path / "two"))
    run(half, stop_after=2)
    full, _, notices = run(half)
    assert not [line for line in notices if "reset" in line]
    assert same(full, whole)


def test_released_gradients_move_each_layer_by_its_rate(training_config):
    plain = train(training_config(**sections(max_grad_norm=0)))
    released = train(training_config(**sections(max_grad_norm=0, release_gradients=True)))
    assert plain.run_folder != released.run_folder
    ours, theirs = load_file(released.lora_file), load_file(plain.lora_file)
    assert all(torch.allclose(ours[name], theirs[name], atol=1e-6) for name in theirs)


def test_a_run_begins_with_a_file_of_its_ranks_and_no_other(training_config):
    first = train(training_config(**sections()))
    start = {"load_checkpoint": str(first.lora_file)}
    still = sections(steps=1, learning_rate=1e-12)
    again, _, notices = run(training_config(**still, model=start))
    assert any(line.startswith("starting from") for line in notices)
    ours, theirs = load_file(again.lora_file), load_file(first.lora_file)
    assert all(torch.allclose(ours[name], theirs[name], atol=1e-6) for name in theirs)
    other = {"lora": LORA | {"layer_rules": [*RULES, "block 0: rank 6"]}}
    with pytest.raises(ConfigurationError, match="with rank 6 this run trains"):
        plan_run(training_config(**other, model=start))
    plain = {"lora": LORA | {"layer_rules": []}}
    with pytest.raises(ConfigurationError, match="its layers have the ranks 2, 4, 8"):
        plan_run(training_config(**plain, model=start))


def test_a_stage_with_rates_of_other_layers_resets_the_optimizer(training_config):
    first = train(training_config(**sections()))
    rules = [*RULES, "block 0 attn1: rate 3"]
    config = training_config(lora=LORA | {"layer_rules": rules}, optimization=SHORT)
    events: list = []
    train(config, events.append, continue_from=RunFolder(first.run_folder))
    texts = [str(getattr(event, "message", "")) for event in events]
    assert any("rates of other layers than before: optimizer state is reset" in t for t in texts)


def test_a_rule_that_matches_nothing_is_told_before_a_model_is_loaded(training_config):
    with pytest.raises(ConfigurationError, match=r"'block 7: off' names no layer"):
        plan_run(training_config(lora=LORA | {"layer_rules": ["block 7: off"]}))
