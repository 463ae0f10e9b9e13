"""Adapters that are no plain LoRA: what they do, in training and in files."""

import math

import pytest
import torch
from safetensors.torch import load_file, save_file

from ltxv_train_core.cli import main
from ltxv_train_core.config import LoRAConfig, build
from ltxv_train_core.errors import ConfigurationError, ModelError
from ltxv_train_core.families.inspect import inspect_file
from ltxv_train_core.families.ltxv.miniature.weights import load_transformer
from ltxv_train_core.lora.adapter_shapes import adapter_numbers
from ltxv_train_core.lora.convert import convert_lora
from ltxv_train_core.lora.file import add_trained_lora, read_adapter, write_adapter_file
from ltxv_train_core.lora.initialize import adapted_layers, start_from
from ltxv_train_core.lora.inject import add_lora
from ltxv_train_core.lora.merge import merge_lora
from ltxv_train_core.lora.resize import resize_lora
from ltxv_train_core.models.memory.quantize import quantize_base
from ltxv_train_core.storage.tensors import write_safetensors
from tests.helpers.activation_bytes import kept_bytes, small_transformer

LAYERS = ("transformer_blocks.0.attn1.to_q", "transformer_blocks.2.ff.net.2")
CASES = {
    "dora": {"adapter": "dora"},
    "lokr": {"adapter": "lokr"},
    "whole lokr": {"adapter": "lokr", "rank": 64, "lokr_factor": 8},
    "loha": {"adapter": "loha"},
    "oft": {"adapter": "oft", "rank": 12},
}
parametrize = pytest.mark.parametrize("name", CASES)


def configured(name: str) -> LoRAConfig:
    return LoRAConfig(**{"rank": 4, "alpha": 12, "target_modules": LAYERS, **CASES[name]})


def moved(name: str, transformer=None):
    """A transformer with an adapter whose effect shows."""
    transformer = transformer or load_transformer()
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for each in add_lora(transformer, configured(name), 1):
            each.add_(torch.randn(each.shape, generator=generator) * 0.05)
    return transformer


def written(path, transformer):
    layers = {name: each.as_layer() for name, each in adapted_layers(transformer).items()}
    write_adapter_file(path, layers, {"adapter": "here"})
    return path


def inputs(layer: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(layer)
    return torch.randn(2, 5, (256, 1024)[layer], generator=generator)


def answers(transformer) -> list[torch.Tensor]:
    with torch.no_grad():
        return [transformer.get_submodule(n)(inputs(i)) for i, n in enumerate(LAYERS)]


def close(ours: list[torch.Tensor], theirs: list[torch.Tensor], error: float = 1e-5) -> bool:
    return all((a - b).abs().max() < error for a, b in zip(ours, theirs, strict=True))


@parametrize
def test_it_begins_with_what_the_layer_did_and_draws_from_no_global_state(name):
    before, state = answers(load_transformer()), torch.get_rng_state()
    transformer = load_transformer()
    parameters = add_lora(transformer, configured(name), 1)
    assert torch.equal(torch.get_rng_state(), state)
    assert close(answers(transformer), before)
    same, other = (add_lora(load_transformer(), configured(name), seed) for seed in (1, 2))
    assert all(map(torch.equal, parameters, same))
    assert all(map(torch.equal, parameters, other)) == (name == "oft"), "zeros rotate nothing"
    assert {p.dtype for p in parameters} == {torch.float32}
    first = transformer.get_submodule(LAYERS[0])
    first(inputs(0)).square().sum().backward()
    assert any(p.grad.abs().max() > 0 for p in first.trained.values()), "it can learn"
    shapes = [(256, 256), (256, 1024)]
    config = configured(name)
    numbers = sum(adapter_numbers(config, *shape, config.rank) for shape in shapes)
    assert sum(p.numel() for p in parameters) == numbers


@parametrize
def test_every_parameter_has_the_gradient_of_its_effect(name):
    layer = moved(name).get_submodule(LAYERS[0])
    x = inputs(0).requires_grad_()
    generator = torch.Generator().manual_seed(0)
    aim = torch.randn(2, 5, 256, generator=generator)
    (layer(x) * aim).sum().backward()
    if name == "dora":
        return  # what it divides by is a constant: another test
    for parameter in [x, *layer.trained.values()]:
        direction = torch.randn(parameter.shape, generator=generator)
        found = (parameter.grad * direction).sum().item()
        with torch.no_grad():
            values = []
            for side in (1, -1):
                parameter.add_(direction * (1e-2 * side))
                values.append((layer(x).double() * aim).sum().item())
                parameter.sub_(direction * (1e-2 * side))
        assert found == pytest.approx((values[0] - values[1]) / 2e-2, rel=0.02, abs=0.05)


def test_a_dora_scales_columns_by_lengths_that_are_constants_of_a_step():
    """Liu et al. 2024, equations 5 and 11."""
    layer, x = moved("dora").get_submodule(LAYERS[0]), inputs(0)
    down, up, m = (layer.trained[n] for n in ("lora_A_weight", "lora_B_weight", "dora_scale"))
    changed = layer.base_layer.weight + 3 * up @ down
    lengths = changed.detach().norm(dim=0, keepdim=True)
    expected = torch.nn.functional.linear(x, m * changed / lengths, layer.bias)
    assert torch.allclose(layer(x), expected, atol=1e-5)
    ours = torch.autograd.grad(layer(x).square().sum(), [down, up, m])
    theirs = torch.autograd.grad(expected.square().sum(), [down, up, m])
    for a, b in zip(ours, theirs, strict=True):
        assert torch.allclose(a, b, rtol=1e-3, atol=1e-3 * b.abs().max().item())


def test_an_oft_rotates_outputs_and_leaves_their_lengths_and_the_bias():
    transformer = moved("oft")
    layer, x = transformer.get_submodule(LAYERS[0]), inputs(0)
    assert layer.trained["oft_blocks"].shape == (32, 8, 8), "the largest divisor up to the rank"
    before, after = (f(x) - layer.bias for f in (layer.base_layer, layer))
    assert (before - after).abs().max() > 0.1
    shaped = [value.unflatten(-1, (32, 8)).norm(dim=-1) for value in (before, after)]
    assert torch.allclose(*shaped, atol=1e-4)


@parametrize
def test_a_file_does_the_same_is_read_and_trained_on(tmp_path, name):
    transformer = moved(name)
    path, ours = written(tmp_path / "x.safetensors", transformer), answers(transformer)
    base = load_transformer()
    assert not close(ours, answers(base), 1e-2)
    add_trained_lora(base, path)
    assert close(answers(base), ours)
    again = load_transformer()
    add_lora(again, configured(name), 7)
    assert start_from(again, path, configured(name)) == 0
    assert close(answers(again), ours)
    for form in ("kohya", "comfy"):
        path = convert_lora(path, form, tmp_path / f"{form}.safetensors").output
    base = load_transformer()
    add_trained_lora(base, path)
    assert close(answers(base), ours)
    with pytest.raises(ModelError, match="the form diffusers has no place for"):
        convert_lora(path, "diffusers", tmp_path / "d.safetensors")
    with pytest.raises(ModelError, match="only a plain LoRA will do here"):
        resize_lora(path, tmp_path / "d.safetensors", rank=2)


@parametrize
@pytest.mark.parametrize("strength", [1.0, 0.5])
def test_a_merge_has_its_effect(tmp_path, name, strength):
    transformer = moved(name)
    lora = written(tmp_path / "x.safetensors", transformer)
    state = {n: value.contiguous() for n, value in load_transformer().state_dict().items()}
    write_safetensors(tmp_path / "base.safetensors", state, {})
    merge_lora(tmp_path / "base.safetensors", lora, tmp_path / "m.safetensors", strength)
    merged, base = load_transformer(), answers(load_transformer())
    merged.load_state_dict(load_file(tmp_path / "m.safetensors"))
    wanted = [b + strength * (o - b) for o, b in zip(answers(transformer), base, strict=True)]
    assert close(answers(merged), wanted)


@parametrize
def test_inspect_names_it(tmp_path, name, capsys):
    path = written(tmp_path / "x.safetensors", moved(name))
    facts = inspect_file(path)
    kind = {"dora": "DoRA", "loha": "LoHa", "oft": "OFT"}.get(name, "LoKr")
    assert facts["adapter"].startswith(f"{kind}: it ")
    assert (facts["layers"], facts["form"], facts["kind"]) == (2, "ComfyUI", "LoRA")
    ranks = {"oft": 8, "whole lokr": []}
    assert facts["rank"] == ranks.get(name, 4)
    assert main(["inspect", "--layers", str(path)]) == 1
    assert "only a plain LoRA" in capsys.readouterr().err


@parametrize
@pytest.mark.parametrize("kind", ["int8-quanto", "int4-quanto"])
def test_on_a_quantized_base_it_begins_with_what_the_layer_did(name, kind):
    """Above all the lengths of a DoRA are those of the weights, not of stored integers."""
    plain = quantize_base(load_transformer(), kind, torch.device("cpu"))
    base, transformer = answers(plain), quantize_base(load_transformer(), kind, torch.device("cpu"))
    add_lora(transformer, configured(name), 1)
    assert close(answers(transformer), base)


def test_lokr_is_split_as_evenly_as_it_can_be_and_by_its_factor():
    def numbers(**options):
        return adapter_numbers(LoRAConfig(adapter="lokr", **options), 4096, 2048, options["rank"])

    assert numbers(rank=64) == 64 * 32 + 64 * 64
    assert numbers(rank=64, lokr_factor=16) == 16 * 16 + 64 * (256 + 128)
    assert numbers(rank=128, lokr_factor=16) == 16 * 16 + 256 * 128
    assert numbers(rank=4) == 64 * 32 + 4 * (64 + 64)


def test_the_scale_of_rslora_is_alpha_over_the_root_of_the_rank():
    """Kalajdzievski 2023, arXiv 2312.03732."""
    config = LoRAConfig(rank=4, alpha=8, target_modules=LAYERS, adapter="rslora")
    transformer = load_transformer()
    add_lora(transformer, config, 0)
    assert transformer.get_submodule(LAYERS[0]).scaling["default"] == config.scale == 4


@parametrize
def test_a_compiled_layer_learns_the_same(name):
    """With torch's stand-in for inductor."""
    found = []
    for backend in (None, "aot_eager"):
        layer = moved(name).get_submodule(LAYERS[0])
        call = torch.compile(layer, backend=backend, fullgraph=True) if backend else layer
        with torch.autocast("cpu", torch.bfloat16):
            answer = call(inputs(0))
        answer.float().square().sum().backward()
        found.append([answer, *(p.grad for p in layer.trained.values())])
    for ours, theirs in zip(*found, strict=True):
        assert torch.allclose(
            ours, theirs, rtol=0.02, atol=0.02 * theirs.detach().abs().max().item()
        )


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"adapter": "oft", "rank": 1}, "rank 1: oft rotates blocks"),
        ({"adapter": "oft", "dropout": 0.1}, "dropout 0.1: oft rotates outputs"),
        ({"adapter": "lora2"}, "adapter"),
    ],
)
def test_options_that_do_not_fit(given, message):
    with pytest.raises(ConfigurationError, match=message):
        build(LoRAConfig, given)


def test_a_file_that_this_run_can_not_begin_with_is_named(tmp_path):
    path = written(tmp_path / "x.safetensors", moved("dora"))
    with pytest.raises(ModelError, match=r"is a file of DoRA, and lora\.adapter is loha"):
        start_from(load_transformer(), path, configured("loha"))
    with pytest.raises(ModelError, match="only a plain LoRA will do here"):
        start_from(load_transformer(), path, LoRAConfig(rank=4, alpha=4))
    other = configured("dora").model_copy(update={"rank": 8})
    larger = load_transformer()
    add_lora(larger, other, 0)
    with pytest.raises(ModelError, match=r"with rank 8 this run trains"):
        start_from(larger, path, other)
    tensors = load_file(path)
    rows = {n: torch.ones(256, 1) if n.endswith("scale") else t for n, t in tensors.items()}
    save_file(rows, path)
    with pytest.raises(ModelError, match="holds the lengths of rows"):
        start_from(load_transformer(), path, configured("dora"))


def test_files_of_other_trainers(tmp_path):
    """alpha of LyCORIS counts where a matrix is in two, a DoRA of rows is read as ComfyUI samples it, and what is not
    whole or of peft is refused."""
    key, path = "lycoris_transformer_blocks_0_attn1_to_q", tmp_path / "x.safetensors"
    torch.manual_seed(0)
    first, up, down = torch.randn(16, 16), torch.randn(16, 2), torch.randn(2, 16)
    alpha = torch.tensor(6.0)
    base = torch.randn(256, 256)

    def added(tensors):
        save_file({f"{key}.{name}": value.contiguous() for name, value in tensors.items()}, path)
        (layer,) = read_adapter(path).lora.values()
        return layer.added(base)

    parts = {"lokr_w1": first, "lokr_w2_a": up, "lokr_w2_b": down, "alpha": alpha}
    assert torch.allclose(added(parts), torch.kron(first * 3, up @ down), atol=1e-4)
    parts = {"lokr_w1": first, "lokr_w2": first.T, "alpha": alpha}
    assert torch.allclose(added(parts), torch.kron(first, first.T.contiguous()), atol=1e-4)
    pair = {"lora_down.weight": torch.randn(2, 256), "lora_up.weight": torch.randn(256, 2)}
    lengths = torch.rand(256, 1)
    change = base + 3 * pair["lora_up.weight"] @ pair["lora_down.weight"]
    expected = change * lengths / base.norm(dim=1, keepdim=True) - base
    assert torch.allclose(
        added(pair | {"alpha": alpha, "dora_scale": lengths}), expected, atol=1e-4
    )
    with pytest.raises(ModelError, match="make no DoRA, LoKr, LoHa or OFT"):
        added({"lokr_w1": first})
    with pytest.raises(ModelError, match=r"is a DoRA .* measures the weights as peft does"):
        added(pair | {"lora_magnitude_vector": torch.ones(256)})


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
@pytest.mark.parametrize(
    ("adapter", "share"), [("dora", 0.75), ("lokr", 0.75), ("loha", 0.0), ("oft", 0.5)]
)
def test_what_is_kept_for_backward_is_what_the_estimate_says(adapter, share, dtype):
    """Of each token and channel, in 8 layers of a block, beside what a LoRA keeps."""

    def kept(kind: str, tokens: int) -> int:
        transformer = small_transformer(layers=2, width=256, head=64).to(dtype)
        add_lora(transformer, LoRAConfig(rank=8, alpha=8, adapter=kind), 0)
        return kept_bytes(transformer, tokens, autocast=dtype != torch.float32)

    more = [kept(kind, 512) - kept(kind, 256) for kind in (adapter, "lora")]
    found = (more[0] - more[1]) / (256 * 256 * 2) / 8 / dtype.itemsize
    assert math.isclose(found, share, abs_tol=0.05)
