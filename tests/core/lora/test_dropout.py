"""What dropout leaves out: a share of the inputs, by the pass and the layer alone."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ltxv_train_core.config import LoRAConfig
from ltxv_train_core.families.ltxv.miniature.weights import load_transformer
from ltxv_train_core.lora.dropout import DropoutSeed, SeededDropout
from ltxv_train_core.lora.inject import add_lora

ONES = torch.ones(100, 100)


@settings(max_examples=15, deadline=None, derandomize=True)
@given(share=st.floats(0, 0.95), seed=st.integers(0, 2**63), layer=st.text(max_size=9))
def test_a_share_is_left_out_and_the_others_are_scaled(share, seed, layer):
    found = SeededDropout(share, layer, DropoutSeed(seed))(ONES)
    kept = found != 0
    assert (1 - kept.float().mean()).item() == pytest.approx(share, abs=0.03)
    assert found[kept].unique().tolist() == pytest.approx([1 / (1 - share)])


def test_every_input_is_scaled_as_it_is():
    inputs = torch.linspace(-2, 3, 60).reshape(3, 4, 5)
    found = SeededDropout(0.2, "a", DropoutSeed(1))(inputs)
    assert found.shape == inputs.shape
    assert torch.allclose(found[found != 0], (inputs / 0.8)[found != 0])


def test_the_pass_and_the_layer_choose_and_nothing_else():
    seed = DropoutSeed()
    first, other = SeededDropout(0.5, "a", seed), SeededDropout(0.5, "b", seed)
    assert seed.value == 0
    before = torch.get_rng_state()
    found = first(ONES)
    assert torch.equal(torch.get_rng_state(), before)
    torch.rand(3)
    assert torch.equal(first(ONES), found), "recomputed in the same pass"
    assert torch.equal(SeededDropout(0.5, "a", DropoutSeed(0))(ONES), found)
    agree = (other(ONES) == found).float().mean().item()
    assert agree == pytest.approx(0.5, abs=0.05)
    seed.value = 1
    assert (first(ONES) == found).float().mean().item() == pytest.approx(0.5, abs=0.05)


def test_a_later_version_draws_the_same():
    """Or a run that goes on in it would become another."""
    found = SeededDropout(0.5, "transformer_blocks.0.attn1.to_q", DropoutSeed(7))(torch.ones(16))
    assert "".join("01"[bool(value)] for value in found) == "0000110100001101"


def test_nothing_is_left_out_unless_it_trains():
    dropout = SeededDropout(0.5, "a", DropoutSeed()).eval()
    assert torch.equal(dropout(ONES), ONES)


@pytest.mark.parametrize("adapter", ["lora", "loha"])
@pytest.mark.parametrize("share", [0.0, 0.25])
def test_every_layer_of_a_lora_has_the_runs_share(share, adapter):
    seed, transformer = DropoutSeed(), load_transformer()
    config = LoRAConfig(
        rank=2, alpha=2, target_modules=("attn1.to_q",), dropout=share, adapter=adapter
    )
    add_lora(transformer, config, seed=0, dropout_seed=seed)
    found = [m for m in transformer.modules() if isinstance(m, SeededDropout)]
    assert [m.share for m in found] == [share] * (4 if share else 0)
    assert all(m.seed is seed for m in found)
    names = {m.layer for m in found}
    assert names == {f"transformer_blocks.{i}.attn1.to_q" for i in range(4 if share else 0)}
