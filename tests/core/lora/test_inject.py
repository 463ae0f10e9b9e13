import pytest
import torch

from ltxv_train_core.config import LoRAConfig
from ltxv_train_core.errors import ConfigurationError
from ltxv_train_core.families.ltxv.layers import module_names
from ltxv_train_core.families.ltxv.miniature.weights import load_transformer
from ltxv_train_core.lora.inject import add_lora, match_modules


def test_patterns_match_ends_of_names_and_wildcards():
    transformer = load_transformer()
    assert len(match_modules(transformer, ("to_q",))) == 8
    assert len(match_modules(transformer, ("attn1.to_q", "to_q"))) == 8
    assert match_modules(transformer, ("transformer_blocks.0.attn?.to_[kv]",)) == [
        f"transformer_blocks.0.attn{i}.to_{x}" for i in (1, 2) for x in "kv"
    ]
    assert len(match_modules(transformer, ("ff.net.*",))) == 8


def test_a_pattern_without_a_match_names_near_ones():
    with pytest.raises(ConfigurationError, match=r"'to_qq' matches no layer.*to_q"):
        match_modules(load_transformer(), ("to_k", "to_qq"))


@pytest.mark.parametrize(
    ("pattern", "helps"),
    [("norm_q", "leave it out"), ("norm1", "leave it out"), ("attn1", r"add \.\* to take")],
)
def test_a_module_that_is_no_linear_layer_is_named(pattern, helps):
    with pytest.raises(ConfigurationError, match=rf"'{pattern}' names no linear layer.*{helps}"):
        match_modules(load_transformer(), ("to_k", pattern))


def test_names_are_known_without_weights():
    linear, others = module_names(blocks=4)
    modules = dict(load_transformer().named_modules())
    assert set(linear) == {n for n, m in modules.items() if isinstance(m, torch.nn.Linear)}
    assert set(others) == modules.keys() - set(linear) - {""}


def test_the_lora_is_float32_seeded_and_alone_trainable():
    config = LoRAConfig(rank=4, alpha=4, target_modules=("to_q",))
    first, second = load_transformer(torch.bfloat16), load_transformer(torch.bfloat16)
    state = torch.get_rng_state()
    ours, same = add_lora(first, config, seed=3), add_lora(second, config, seed=3)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(a, b) for a, b in zip(ours, same, strict=True))
    assert {p.dtype for p in ours} == {torch.float32}
    assert sum(p.numel() for p in ours) == 8 * 4 * (256 + 256)
    assert first.proj_in.weight.dtype == torch.bfloat16
    assert not first.proj_in.weight.requires_grad
