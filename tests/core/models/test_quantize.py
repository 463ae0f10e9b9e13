"""Weights in few bits: which ones, how large they are, and what is said where it can't be done."""

import pytest
import torch
from bitsandbytes.nn import Linear8bitLt
from torch import nn

from ltxv_train_core.models.memory import quantize
from ltxv_train_core.models.memory.frozen_linear import FLOAT8, EightBitLinear, packed, unpacked
from ltxv_train_core.models.memory.kinds import BITS, PACKED_BITS, SCALE_BITS
from ltxv_train_core.models.memory.quantize import (
    OUTLIERS_FROM,
    eight_bit_problem,
    frozen_bytes,
    quantization_problem,
    quantized,
    to_eight_bits,
)

CPU = torch.device("cpu")
WIDEST_GAP = 1 - 0.6962
"""Between two neighbours among the 16 numbers of nf4, of which 1 is the largest."""


def test_frozen_bytes_count_what_is_held_and_not_what_is_trained():
    module = nn.Sequential(nn.Linear(8, 16, bias=False), nn.Linear(16, 4, dtype=torch.bfloat16))
    assert frozen_bytes(module) == 0
    module[1].requires_grad_(False)
    assert frozen_bytes(module) == 2 * (16 * 4 + 4)
    module.requires_grad_(False)
    assert frozen_bytes(module) == 4 * 8 * 16 + 2 * (16 * 4 + 4)
    layer = quantized(nn.Linear(8, 16, bias=False), "int8-quanto")
    assert frozen_bytes(layer) == 8 * 16 + 4 * 16, "a number in a byte, and a scale for each row"
    packed_layer = quantized(nn.Linear(256, 16, bias=False), "int4-quanto")
    assert frozen_bytes(packed_layer) == 256 * 16 / 2 + 2 * 4 * 2 * 16, "two numbers for each group"
    normal_floats = quantized(nn.Linear(256, 128, bias=False), "nf4")
    tables = 4 * (16 + 256 + 1)  # the numbers of 4 and of 8 bits, and the scales' mean
    assert frozen_bytes(normal_floats) == 256 * 128 * (4 + SCALE_BITS["nf4"]) / 8 + tables


@pytest.mark.parametrize("kind", sorted(BITS.keys() - {"nf4"}))
@pytest.mark.parametrize("columns", [96, 256, 288, 20])
def test_a_quantized_layer_multiplies_with_the_nearest_numbers_that_its_bits_hold(kind, columns):
    torch.manual_seed(0)
    layer = nn.Linear(columns, 6)
    layer.weight.data[2] = 0.5
    small = quantized(layer, kind)
    found = small(torch.eye(columns)) - layer.bias  # the weights, column by column
    error = (found.T - layer.weight).abs()
    if kind in PACKED_BITS:
        size = {96: 96, 256: 128, 288: 96, 20: 20}[columns]
        groups = layer.weight.unflatten(1, (-1, size))
        step = (groups.amax(-1) - groups.amin(-1)) / (2 ** BITS[kind] - 1)
        allowed = step.repeat_interleave(size, 1) / 2
    else:
        largest = layer.weight.abs().amax(1, keepdim=True)
        allowed = (
            largest / 254 if kind == "int8-quanto" else layer.weight.abs() / 16 + largest / 2**15
        )
    assert 0.8 < (error / (allowed + 1e-6)).max() <= 1
    assert (small.in_features, small.out_features) == (columns, 6)


@pytest.mark.parametrize("columns", [96, 256, 20])
def test_normally_distributed_weights_come_back_from_nf4(columns):
    torch.manual_seed(0)
    layer = nn.Linear(columns, 64)
    nn.init.normal_(layer.weight)
    small = quantized(layer, "nf4")
    error = (small(torch.eye(columns)) - layer.bias).T - layer.weight
    blocks = layer.weight.flatten().unflatten(0, (-1, 64)).abs()
    # The scales are in 8 bits, which can be wrong by two percent.
    allowed = blocks.amax(1, keepdim=True) * (WIDEST_GAP / 2 + 0.02)
    assert (error.flatten().view_as(blocks).abs() <= allowed).all()
    assert 0.08 < error.std() / layer.weight.std() < 0.1, "int4 with a scale for each 128 has 0.1"
    layer.weight.data.fill_(0.5)
    again = quantized(layer, "nf4")
    torch.testing.assert_close(
        again(torch.ones(1, columns)), layer(torch.ones(1, columns)), rtol=0.01, atol=0
    )


@pytest.mark.parametrize("bits", [2, 4])
def test_packed_numbers_come_back(bits):
    values = torch.randint(0, 2**bits, (3, 2, 16), dtype=torch.uint8)
    stored = packed(values, bits)
    assert stored.shape == (3, 2, 16 * bits // 8)
    assert torch.equal(unpacked(stored, bits), values)


@pytest.mark.parametrize("kind", BITS)
def test_gradients_are_those_of_the_quantized_weights(kind):
    torch.manual_seed(0)
    small = quantized(nn.Linear(64, 32), kind)
    seen = torch.randn(5, 64, requires_grad=True)
    pull = torch.randn(5, 32)
    small(seen).backward(pull)
    weights = small(torch.eye(64)).detach() - small.bias
    assert torch.allclose(seen.grad, pull @ weights.T, atol=1e-5)


def model():
    fp8 = EightBitLinear(torch.ones(4, 4).to(FLOAT8[0]), None, None)
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
        "fp8": EightBitLinear,
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
    monkeypatch.setattr(quantize, "quantized", lambda *given: 1 / 0)
    line = quantization_problem(kind, CPU)
    assert line.startswith(f"acceleration.quantization: {kind} ")
    instead = "none" if kind == "int8-quanto" else "int8-quanto, or none"
    assert line.endswith(f"; or choose {instead}")


def test_an_encoder_that_can_not_have_8_bits_is_told(monkeypatch):
    assert eight_bit_problem(CPU) is None
    monkeypatch.setattr(quantize, "to_eight_bits", lambda module: 1 / 0)
    line = eight_bit_problem(CPU)
    assert line.startswith("acceleration.load_text_encoder_in_8bit: ")
    assert line.endswith("; or switch it off")
