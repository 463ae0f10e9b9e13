"""Weights in few bits: which ones, how large they are, and what is said where it can't be done."""

import importlib.util

import pytest
import torch
from bitsandbytes.nn import Linear8bitLt
from optimum import quanto
from torch import nn

from ltxv_train_core.models.memory import quantize
from ltxv_train_core.models.memory.fp8 import FLOAT8, Fp8Linear
from ltxv_train_core.models.memory.quantize import (
    OUTLIERS_FROM,
    PACKED,
    QUANTO_TYPES,
    eight_bit_problem,
    frozen_bytes,
    plain_tensors,
    quantization_problem,
    to_eight_bits,
)

CPU = torch.device("cpu")


def test_every_kind_is_one_of_quantos():
    assert QUANTO_TYPES.keys() >= set(PACKED)
    for kind, name in QUANTO_TYPES.items():
        assert getattr(quanto, name).bits == (8 if kind not in PACKED else int(kind[3]))


def test_frozen_bytes_count_what_is_held_and_not_what_is_trained():
    module = nn.Sequential(nn.Linear(8, 16, bias=False), nn.Linear(16, 4, dtype=torch.bfloat16))
    assert frozen_bytes(module) == 0
    module[1].requires_grad_(False)
    assert frozen_bytes(module) == 2 * (16 * 4 + 4)
    module.requires_grad_(False)
    assert frozen_bytes(module) == 4 * 8 * 16 + 2 * (16 * 4 + 4)
    quanto.quantize(module[0], weights=quanto.qint8)
    whole = nn.Sequential(nn.Linear(8, 16, bias=False))
    quanto.quantize(whole, weights=quanto.qint8)
    quanto.freeze(whole)
    whole.requires_grad_(False)
    assert frozen_bytes(whole) == 8 * 16 + 4 * 16, "a number in a byte, and a scale for each row"
    parts = list(plain_tensors(whole[0].weight))
    assert [type(part) for part in parts] == [torch.Tensor] * 2
    assert list(plain_tensors(module[1].bias)) == [module[1].bias]


def model():
    fp8 = Fp8Linear(torch.ones(4, 4).to(FLOAT8[0]), None, None)
    inner = nn.ModuleDict({"wo": nn.Linear(4, 4), "wi": nn.Linear(4, 2)})
    return nn.ModuleDict({"inner": inner, "fp8": fp8, "out": nn.Linear(4, 6, bias=False)})


def test_linear_layers_become_8_bit_but_those_that_are_kept_or_have_8_bits():
    before = model()
    weight, bias = before["inner"]["wi"].weight.data.clone(), before["inner"]["wi"].bias
    found = to_eight_bits(before, keep="wo")
    assert found is before
    kinds = {name: type(m) for name, m in found.named_modules() if isinstance(m, nn.Linear)}
    assert kinds == {
        "inner.wo": nn.Linear,
        "inner.wi": Linear8bitLt,
        "fp8": Fp8Linear,
        "out": Linear8bitLt,
    }
    layer = found["inner"]["wi"]
    assert (layer.in_features, layer.out_features) == (4, 2)
    assert torch.equal(layer.weight.data, weight)
    assert layer.bias is bias
    assert found["out"].bias is None
    assert not layer.weight.requires_grad
    assert (layer.state.threshold, layer.state.has_fp16_weights) == (OUTLIERS_FROM, False) == (6, 0)
    assert type(to_eight_bits(model())["inner"]["wo"]) is Linear8bitLt


def test_a_layer_of_8_bits_gives_nearly_the_same():
    torch.manual_seed(0)
    plain = nn.Linear(64, 32)
    seen = torch.randn(5, 64)
    wanted = plain(seen)
    found = to_eight_bits(nn.Sequential(plain)).to(CPU)(seen)
    assert 0 < (found - wanted).abs().max() < 0.05 * wanted.abs().max()


@pytest.mark.parametrize("kind", ["int8-quanto", "fp8-quanto"])
def test_what_fails_is_told_with_what_to_choose(monkeypatch, kind):
    assert quantization_problem(kind, CPU) is None
    monkeypatch.setattr(quanto, "freeze", lambda module: 1 / 0)
    line = quantization_problem(kind, CPU)
    assert line.startswith(f"acceleration.quantization: {kind} ")
    instead = "none" if kind == "int8-quanto" else "int8-quanto, or none"
    assert line.endswith(f"; or choose {instead}")


@pytest.mark.parametrize(
    ("compilers", "ninja", "can"),
    [
        ({"c++"}, "which", True),
        ({"g++"}, "which", True),
        ({"clang++"}, "module", True),
        ({"cl"}, "which", True),
        ({"gcc"}, "which", False),
        (set(), "which", False),
        ({"g++"}, None, False),
    ],
)
@pytest.mark.parametrize("kind", PACKED)
def test_packed_kinds_need_a_compiler_and_ninja(monkeypatch, compilers, ninja, can, kind):
    found = compilers | ({"ninja"} if ninja == "which" else set())
    monkeypatch.setattr(quantize.shutil, "which", lambda name: name if name in found else None)
    spec = object() if ninja == "module" else None
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: spec)
    monkeypatch.setattr(quanto, "quantize", lambda *args, **options: None)
    monkeypatch.setattr(quanto, "freeze", lambda *args: None)
    line = quantization_problem(kind, CPU)
    assert (line is None) == can
    if line:
        assert line.endswith("C++ compiler with ninja here; choose int8-quanto, or none")
    assert quantization_problem("int8-quanto", CPU) is None


def test_an_encoder_that_can_not_have_8_bits_is_told(monkeypatch):
    assert eight_bit_problem(CPU) is None
    monkeypatch.setattr(quantize, "to_eight_bits", lambda module: 1 / 0)
    line = eight_bit_problem(CPU)
    assert line.startswith("acceleration.load_text_encoder_in_8bit: ")
    assert line.endswith("; or switch it off")
