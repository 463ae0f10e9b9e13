"""Products in 8 bits are near those with the same weights in full numbers, forward and backward."""

import pytest
import torch
from torch import nn

from ltxv_train_core.models.memory.frozen_linear import EightBitLinear
from ltxv_train_core.models.memory.kinds import EIGHT_BIT_KINDS
from ltxv_train_core.models.memory.quantize import multiply_in_eight_bits, quantized

ERRORS = {"int8-quanto": 0.009, "fp8-quanto": 0.027, "fp8uz-quanto": 0.027}
"""Root mean square, in that of the product: what docs/memory.md says."""


def product(layer, seen, pull):
    seen = seen.clone().requires_grad_()
    output = layer(seen)
    output.backward(pull)
    return output.detach(), seen.grad


def error(found, expected):
    return float((found - expected).norm() / expected.norm())


def random(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("kind", EIGHT_BIT_KINDS)
def test_outputs_and_gradients_differ_by_the_rounding_of_what_is_given(kind, dtype):
    plain_layer = nn.Linear(256, 128, dtype=dtype)
    torch.nn.init.normal_(plain_layer.weight, generator=torch.Generator().manual_seed(2))
    torch.nn.init.constant_(plain_layer.bias, 3.0)
    layer = quantized(plain_layer, kind)
    seen, pull = random(2, 40, 256).to(dtype), random(2, 40, 128, seed=1).to(dtype)
    seen[0, 0] *= 1000  # one token's size is not that of others
    pull[1, 1] *= 1000
    plain = product(layer, seen, pull)
    multiply_in_eight_bits(nn.ModuleList([layer]))
    for found, expected in zip(product(layer, seen, pull), plain, strict=True):
        assert found.dtype == dtype
        errors = [
            error(*pair) for pair in zip(found.flatten(0, 1), expected.flatten(0, 1), strict=True)
        ]
        assert max(errors) < 2 * ERRORS[kind], "of any token"
        assert 0.5 * ERRORS[kind] < sum(errors) / len(errors) < 1.1 * ERRORS[kind]


@pytest.mark.parametrize("scale", [None, 2.0, "rows"])
@pytest.mark.parametrize("kind", [torch.float8_e4m3fn, torch.float8_e5m2, torch.int8])
def test_each_form_of_scale_is_that_of_the_weights(kind, scale):
    weight = (random(32, 64) * (20 if kind == torch.int8 else 1)).to(kind)
    size = torch.rand(32, 1) + 0.5 if scale == "rows" else scale and torch.tensor(scale)
    layer = EightBitLinear(weight, size, None)
    given = random(20, 64), random(20, 32, seed=1)
    plain = product(layer, *given)
    multiply_in_eight_bits(nn.ModuleList([layer]))
    for found, expected in zip(product(layer, *given), plain, strict=True):
        assert 1e-4 < error(found, expected) < 0.04


@pytest.mark.parametrize(("tokens", "rows"), [(16, 32), (17, 24)])
def test_sizes_that_no_library_multiplies_in_8_bits_are_multiplied_as_before(tokens, rows):
    layer = quantized(nn.Linear(64, rows), "int8-quanto")
    given = random(tokens, 64), random(tokens, rows, seed=1)
    plain = product(layer, *given)
    multiply_in_eight_bits(nn.ModuleList([layer]))
    for found, expected in zip(product(layer, *given), plain, strict=True):
        assert torch.equal(found, expected)


def test_tokens_of_zeros_stay_zeros():
    layer = quantized(nn.Linear(64, 32, bias=False), "int8-quanto")
    multiply_in_eight_bits(nn.ModuleList([layer]))
    output, gradient = product(layer, torch.zeros(20, 64), torch.zeros(20, 32))
    assert not output.any()
    assert not gradient.any()
