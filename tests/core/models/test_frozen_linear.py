"""A linear layer in 8 bit floating point is the linear layer of its dequantized weights."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from ltxv_train_core.models.memory.frozen_linear import (
    FLOAT8,
    EightBitLinear,
    dequantized,
    is_in_eight_bits,
)


@settings(max_examples=20, deadline=None, derandomize=True)
@given(
    rows=st.integers(1, 9),
    columns=st.integers(1, 9),
    scale=st.none() | st.floats(0.1, 4),
    has_bias=st.booleans(),
    kind=st.sampled_from(FLOAT8),
    seed=st.integers(0, 99),
)
def test_outputs_and_gradients_are_those_of_the_weights(rows, columns, scale, has_bias, kind, seed):
    generator = torch.Generator().manual_seed(seed)
    weight = torch.randn(rows, columns, generator=generator).to(kind)
    bias = torch.randn(rows, generator=generator).bfloat16() if has_bias else None
    layer = EightBitLinear(weight, None if scale is None else torch.tensor(scale), bias)
    ours = torch.randn(2, 3, columns, generator=generator, requires_grad=True)
    theirs = ours.detach().clone().requires_grad_(True)
    plain = weight.float() * (1 if scale is None else scale)
    wanted = F.linear(theirs, plain, None if bias is None else bias.float())
    found = layer(ours)
    assert torch.allclose(found, wanted, atol=1e-5)
    pull = torch.randn(found.shape, generator=generator)
    found.backward(pull)
    wanted.backward(pull)
    assert torch.allclose(ours.grad, theirs.grad, atol=1e-5)
    assert layer.weight.grad is None
    assert not any(p.requires_grad for p in layer.parameters())
    assert (layer.in_features, layer.out_features) == (columns, rows)
    assert (layer.bias is None) == (not has_bias)


@pytest.mark.parametrize("scale", [None, torch.tensor(2.0, dtype=torch.float64)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_weights_are_given_in_the_wanted_format(scale, dtype):
    found = dequantized(torch.full((2, 2), 3.0).to(FLOAT8[0]), scale, dtype)
    assert found.dtype == dtype
    assert (found == (3 if scale is None else 6)).all()


def test_a_scale_is_kept_with_the_weights_and_none_is_not():
    weight = torch.ones(2, 3).to(FLOAT8[0])
    assert set(EightBitLinear(weight, torch.tensor(1.0), None).state_dict()) == {
        "weight",
        "weight_scale",
    }
    assert set(EightBitLinear(weight, None, torch.ones(2)).state_dict()) == {"weight", "bias"}


def test_one_layer_in_8_bits_is_found():
    layer = EightBitLinear(torch.ones(2, 3).to(FLOAT8[0]), None, None)
    assert is_in_eight_bits(layer)
    assert is_in_eight_bits(nn.Sequential(nn.Linear(2, 2), nn.Sequential(layer)))
    assert not is_in_eight_bits(nn.Sequential(nn.Linear(2, 2)))
    assert (torch.float8_e4m3fn, torch.float8_e5m2) == FLOAT8
