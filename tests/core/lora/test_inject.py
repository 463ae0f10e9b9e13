import pytest
import torch
from peft import LoraConfig

from ltxv_train_core.config import LoRAConfig
from ltxv_train_core.errors import ConfigurationError
from ltxv_train_core.families.ltx2.family import LTX2
from ltxv_train_core.families.ltxv.family import LTXV
from ltxv_train_core.families.ltxv.miniature.weights import load_transformer
from ltxv_train_core.lora.inject import add_lora
from ltxv_train_core.lora.targets import match_modules, match_names


def test_patterns_match_ends_of_names_and_wildcards():
    transformer = load_transformer()
    assert len(match_modules(transformer, ("to_q",))) == 8
    assert len(match_modules(transformer, ("attn1.to_q", "to_q"))) == 8
    assert match_modules(transformer, ("transformer_blocks.0.attn?.to_[kv]",)) == [
        f"transformer_blocks.0.attn{i}.to_{x}" for i in (1, 2) for x in "kv"
    ]
    assert len(match_modules(transformer, ("ff.net.*",))) == 8


def test_presets_stand_for_the_attention_of_a_stream_or_between_both():
    linear, others = LTX2.layers.module_names(blocks=2)
    found = {p: match_names(linear, others, (p,)) for p in ("video", "audio", "cross-modal", "all")}
    assert {p: len(names) for p, names in found.items()} == {
        **{"video": 2 * 8, "audio": 2 * 8, "cross-modal": 2 * 8},
        "all": 2 * 24,
    }
    assert not set(found["video"]) & set(found["audio"]) | set(found["cross-modal"]) & (
        set(found["video"]) | set(found["audio"])
    )
    assert "transformer_blocks.1.video_to_audio_attn.to_out.0" in found["cross-modal"]
    both = match_names(linear, others, ("audio", "cross-modal", "audio_ff.net.2"))
    assert len(both) == 2 * (8 + 8 + 1)
    with pytest.raises(ConfigurationError, match="'cross-modal' matches no layer"):
        match_names(*LTXV.layers.module_names(blocks=2), ("video", "cross-modal"))


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
    linear, others = LTXV.layers.module_names(blocks=4)
    modules = dict(load_transformer().named_modules())
    assert set(linear) == {n for n, m in modules.items() if isinstance(m, torch.nn.Linear)}
    holders = {name for name, _ in load_transformer().named_parameters()}
    around = {
        name.rsplit(".", count)[0] for name in holders for count in range(1, name.count(".") + 1)
    }
    assert set(others) == around - set(linear)
    assert around <= modules.keys()


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


@pytest.mark.parametrize("seed", [0, 7])
def test_initial_weights_are_those_that_peft_draws(seed):
    config = LoRAConfig(rank=3, alpha=6, target_modules=("attn1.to_q", "ff.net.2"))
    ours, theirs = load_transformer(), load_transformer()
    parameters = add_lora(ours, config, seed)
    names = match_modules(theirs, config.target_modules)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        theirs.add_adapter(LoraConfig(r=3, lora_alpha=6, target_modules=names))
    wanted = {n: p for n, p in theirs.named_parameters() if "lora_" in n}
    found = {n: p for n, p in ours.named_parameters() if p.requires_grad}
    assert found.keys() == wanted.keys()
    assert all(torch.equal(found[name], wanted[name]) for name in wanted)
    assert [id(p) for p in parameters] == [id(p) for p in found.values()]
    layer = ours.transformer_blocks[0].attn1.to_q
    assert layer.scaling["default"] == 2
    assert layer.cast_input_dtype_enabled is False


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float8_e4m3fn])
def test_initial_weights_are_rounded_to_the_bases_format_but_to_fp8(dtype):
    config = LoRAConfig(rank=2, alpha=2, target_modules=("attn1.to_q",))
    exact = add_lora(load_transformer(), config, seed=1)
    found = add_lora(load_transformer().to(dtype), config, seed=1)
    for ours, wanted in zip(found, exact, strict=True):
        assert ours.dtype == torch.float32
        rounded = wanted if dtype == torch.float8_e4m3fn else wanted.to(dtype).float()
        assert torch.equal(ours, rounded)


NAMES = [f"blocks.{i}.attn1.{part}" for i in range(3) for part in ("to_q", "to_k", "to_out.0")]


def test_every_problem_is_told_with_near_names_of_a_few_parts():
    with pytest.raises(ConfigurationError) as told:
        match_names(NAMES, ["blocks", "blocks.0"], ("to_qq", "blocks.0", "to_q", "zzz"))
    assert told.value.problems == [
        "lora.target_modules 'to_qq' matches no layer; near names: to_q, to_k, attn1.to_q, "
        "to_out.0",
        "lora.target_modules 'blocks.0' names no linear layer (blocks.0 is none), and only those "
        "can have a LoRA; add .* to take those in it",
        "lora.target_modules 'zzz' matches no layer; near names: to_q, to_k, to_v",
    ]


def test_near_names_are_at_most_four_and_begin_with_no_number():
    layers = [f"a.b.{i}.to_q{i}" for i in range(9)]
    with pytest.raises(ConfigurationError) as told:
        match_names(layers, [], ("to_q",))
    near = told.value.problems[0].partition("near names: ")[2].split(", ")
    assert len(near) == 4
    assert not any(name[0].isdigit() for name in near)
    with pytest.raises(ConfigurationError, match=r"near names: b\.c\.d\.e, c\.d\.e, d\.e$"):
        match_names(["a.b.c.d.e"], [], ("b.c.d.e.",))


def test_a_pattern_takes_whole_parts_and_each_layer_once():
    assert match_names(NAMES, [], ("to_[kq]", "attn?.to_q")) == [
        f"blocks.{i}.attn1.{part}" for i in range(3) for part in ("to_q", "to_k")
    ]
    assert match_names(["to_q", "my_to_q", "a.to_q"], [], ("to_q",)) == ["to_q", "a.to_q"]
    assert match_names(["To_q", "to_q"], [], ("to_q",)) == ["to_q"]
