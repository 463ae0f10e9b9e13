"""Rank and learning rate by layer, and layers that are left out."""

import pytest
import torch

from ltxv_train_core.config import LoRAConfig, TrainingConfig, build
from ltxv_train_core.errors import ConfigurationError
from ltxv_train_core.families.ltx2.family import LTX2
from ltxv_train_core.families.ltxv.family import LTXV
from ltxv_train_core.families.ltxv.miniature.weights import load_transformer
from ltxv_train_core.lora.inject import add_lora, rate_factors
from ltxv_train_core.lora.targets import chosen_layers

ATTENTION = ("attn1.to_q", "attn2.to_q")


def chosen(*rules: str, family=LTXV, blocks=4, targets=ATTENTION) -> dict[str, int]:
    config = LoRAConfig(rank=16, target_modules=targets, layer_rules=rules)
    return chosen_layers(*family.layers.module_names(blocks), config)


def block(number: int, rest: str) -> str:
    return f"transformer_blocks.{number}.{rest}"


def test_without_rules_every_layer_has_the_rank():
    assert set(chosen().values()) == {16}
    assert len(chosen()) == 8


def test_rules_take_patterns_blocks_and_both_and_the_last_one_counts():
    found = chosen("attn2: rank 8", "blocks 1-2: rank 4", "block 2 attn2: rank 2", "blocks 3: off")
    assert found == {
        block(0, "attn1.to_q"): 16,
        block(0, "attn2.to_q"): 8,
        **{block(1, name): 4 for name in ATTENTION},
        block(2, "attn1.to_q"): 4,
        block(2, "attn2.to_q"): 2,
    }
    assert len(chosen("blocks 0-3 attn2.to_q: off", "attn2: rank 3")) == 4, "off is final"


def test_presets_name_layers_too():
    found = chosen("audio: off", "cross-modal: rank 2", family=LTX2, blocks=1, targets=("all",))
    assert len(found) == 24 - 8
    cross = {name for name, rank in found.items() if rank == 2}
    assert cross == {name for name in found if "_to_" in name.split(".")[2]}
    assert len(cross) == 8


@pytest.mark.parametrize(
    ("rule", "told"),
    [
        ("attn2", "'attn2': write 'PATTERN: rank N"),
        (": rank 8", "write 'PATTERN: rank N"),
        ("attn2:", "write 'PATTERN: rank N"),
        ("attn2: rank 0", "rank 0: must be a whole number from 1 to 1024"),
        ("attn2: rank 1025", "rank 1025: must be a whole number"),
        ("attn2: rank", "rank nothing: must be a whole number"),
        ("attn2: rate 0", "rate 0: must be a number above 0"),
        ("attn2: rate nan", "rate nan: must be a number above 0"),
        ("attn2: rate 1001", "at most 1000, a factor on optimization.learning_rate"),
        ("attn2: rank 4, rank 8", "rank stands there twice"),
        ("attn2: off, rank 8", "off stands alone"),
        ("attn2: alpha 8", "'alpha 8' is unknown"),
        ("blocks 5-2: off", "blocks 5-2 go backwards; write 2-5"),
        ("first blocks: off", "'first blocks' is no pattern"),
    ],
)
def test_a_rule_that_can_not_be_read_is_named_with_what_may_be_written(rule, told):
    with pytest.raises(ConfigurationError) as raised:
        build(LoRAConfig, {"layer_rules": ["to_q: rank 4", rule]}, "lora")
    assert told in str(raised.value)
    assert "layer_rules" in str(raised.value)


def test_a_rule_that_matches_nothing_is_named():
    with pytest.raises(ConfigurationError) as raised:
        chosen("attn3: rank 8", "blocks 4-9: off", "ff.net.2: rank 2")
    assert [problem.split(" names no")[0] for problem in raised.value.problems] == [
        "lora.layer_rules 'attn3: rank 8'",
        "lora.layer_rules 'blocks 4-9: off'",
        "lora.layer_rules 'ff.net.2: rank 2'",
    ]
    assert "they are in the blocks 0 to 3" in raised.value.problems[1]
    with pytest.raises(ConfigurationError, match="every layer is off"):
        chosen("blocks 0-99: off")


@pytest.mark.parametrize("adapter", ["lora", "rslora", "dora", "lokr", "loha", "oft"])
def test_layers_have_their_ranks_and_one_scale(adapter):
    rules = ("block 1: rank 8", "block 2: off")
    config = LoRAConfig(
        rank=4, alpha=12, target_modules=("attn1.to_q",), layer_rules=rules, adapter=adapter
    )
    transformer = load_transformer()
    parameters = add_lora(transformer, config, 0)
    layers = [transformer.transformer_blocks[n].attn1.to_q for n in range(4)]
    assert isinstance(layers[2], torch.nn.Linear)
    trained = [layers[n] for n in (0, 1, 3)]
    if adapter in ("lora", "rslora"):
        assert [layer.lora_A["default"].weight.shape[0] for layer in trained] == [4, 8, 4]
        scales = {layer.scaling["default"] for layer in trained}
    else:
        assert [layer.rank for layer in trained] == [4, 8, 4]
        scales = {layer.scale for layer in trained}
    assert scales == {config.scale}
    assert set(rate_factors(transformer, config)) == {1.0}
    assert len(rate_factors(transformer, config)) == len(parameters)


def test_rates_are_those_of_the_rules_times_the_ratio_of_lora_plus():
    rules = ("block 1: rate 0.5", "blocks 1-2 attn2: rate 3", "block 3: rank 2")
    for adapter in ("lora", "dora"):
        config = LoRAConfig(
            rank=4,
            target_modules=ATTENTION,
            layer_rules=rules,
            lora_plus_ratio=16,
            adapter=adapter,
        )
        transformer = load_transformer()
        add_lora(transformer, config, 0)
        names = [n for n, p in transformer.named_parameters() if p.requires_grad]
        found = dict(zip(names, rate_factors(transformer, config), strict=True))
        expected = {(0, 1): 1, (0, 2): 1, (1, 1): 0.5, (1, 2): 3, (2, 1): 1, (2, 2): 3, (3, 1): 1}
        for name, rate in found.items():
            parts = name.split(".")
            key = int(parts[1]), int(parts[2][-1])
            assert rate == expected.get(key, 1) * (16 if "lora_B" in name else 1)


@pytest.mark.parametrize(
    ("sections", "told"),
    [
        ({"lora": {"lora_plus_ratio": 16, "adapter": "lokr"}}, "lokr has no second matrix"),
        (
            {
                "lora": {"layer_rules": ["to_q: rate 2"]},
                "optimization": {"optimizer_type": "prodigy", "learning_rate": 1.0},
            },
            "prodigy finds one rate for all",
        ),
        ({"lora": {"layer_rules": ["to_q: rank 1"], "adapter": "oft"}}, "rank 1: oft rotates"),
    ],
)
def test_what_does_not_go_together_is_named(sections, told):
    with pytest.raises(ConfigurationError, match=told):
        build(TrainingConfig, {"data": {"preprocessed_data_root": "x"}, **sections})
