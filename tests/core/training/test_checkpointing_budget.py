"""As few blocks are computed again as a budget of memory takes."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ltxv_train_core.config import LoRAConfig, TrainingConfig, build
from ltxv_train_core.datasets.dataset import TrainingDataset
from ltxv_train_core.errors import ConfigurationError
from ltxv_train_core.families.ltxv.activation_bytes import ACTIVATION_BYTES
from ltxv_train_core.families.ltxv.denoiser import LTXVideoDenoiser
from ltxv_train_core.lora.inject import add_lora
from ltxv_train_core.models.memory.checkpointing import Recomputed, recompute_blocks
from ltxv_train_core.training import memory_fit
from ltxv_train_core.training.memory_estimate import recomputed_blocks
from ltxv_train_core.training.parallel import sharding_problems
from ltxv_train_core.units import GIB
from tests.helpers.activation_bytes import kept_bytes, small_transformer
from tests.helpers.short_run import run

BLOCKS = 28


def config(**options) -> TrainingConfig:
    sections = {"model": {"model_source": "m"}, "data": {"preprocessed_data_root": "d"}}
    return build(TrainingConfig, sections | options)


def saved(count: int) -> int:
    """By the 2B model with 2,688 tokens: 4.2 GiB, or 0.8 with all blocks computed again."""
    return ACTIVATION_BYTES["lora", "half"].bytes(2688, 2048, BLOCKS, count)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(budget=st.floats(0.01, 6.0), offloaded=st.integers(0, BLOCKS))
def test_one_block_less_would_not_fit(budget, offloaded):
    options = config(
        optimization={"checkpointing_budget": budget},
        acceleration={"blocks_to_offload": offloaded},
    )
    count = recomputed_blocks(options, BLOCKS, saved)
    assert offloaded <= count <= BLOCKS
    assert saved(count) <= budget * GIB or count == BLOCKS
    assert count == offloaded or saved(count - 1) > budget * GIB


def test_what_is_free_is_a_budget_too():
    options = config(optimization={"checkpointing_budget": 1000})
    counts = [recomputed_blocks(options, BLOCKS, saved, free * GIB) for free in (0, 2, 3, 9)]
    assert counts == [28, 17, 9, 0]
    less = config(optimization={"checkpointing_budget": 2})
    assert recomputed_blocks(less, BLOCKS, saved, 9 * GIB) == 17
    assert recomputed_blocks(config(), BLOCKS, saved, 0) == 0


def test_blocks_that_are_chosen_keep_their_input_alone():
    """The first ones; what is left out isn't counted."""

    def kept(count, left_out=()):
        transformer = small_transformer(4, width=128, head=64).bfloat16()
        add_lora(transformer, LoRAConfig(rank=4, alpha=4), 0)
        recompute_blocks(transformer, count, left_out)
        blocks = enumerate(transformer.transformer_blocks)
        chosen = [number for number, block in blocks if isinstance(block.forward, Recomputed)]
        return kept_bytes(transformer), chosen

    amounts, chosen = zip(*(kept(count) for count in range(5)), strict=True)
    assert list(amounts) == sorted(amounts, reverse=True)
    assert amounts[4] < 0.2 * amounts[0]
    assert list(chosen) == [list(range(count)) for count in range(5)]
    assert kept(2, left_out=(0, 2)) == (pytest.approx(amounts[2], rel=0.05), [1, 3])


@pytest.mark.parametrize(("share", "fits"), [(0.91, False), (0.89, True)])
def test_a_tenth_of_what_is_free_stays_so(training_config, stripes_data, share, fits):
    options = config(optimization={"checkpointing_budget": 1000, "batch_size": 8})
    transformer = small_transformer(4, width=128, head=64)
    add_lora(transformer, LoRAConfig(rank=4, alpha=4), 0)
    denoiser, dataset = LTXVideoDenoiser(transformer, True), TrainingDataset(stripes_data)
    whole = memory_fit.step_bytes(options, denoiser, dataset)
    needed = memory_fit.step_bytes(options, denoiser, dataset, whole / share)
    assert needed == whole if fits else needed < 0.9 * whole


@pytest.mark.long
@pytest.mark.parametrize("offloaded", [0, 1])
def test_losses_are_the_same_bit_for_bit(training_config, monkeypatch, tmp_path, offloaded):
    found = []
    for budget, free in ((None, 0), (1000, 10**5), (1e-4, 10**12), (1000, 10**12)):
        monkeypatch.setattr(memory_fit, "free_bytes", lambda device, free=free: free)
        options = {"steps": 3, "checkpointing_budget": budget}
        sections = {"optimization": options, "acceleration": {"blocks_to_offload": offloaded}}
        folder = str(tmp_path / f"{budget}-{free}")
        _, losses, notices = run(training_config(output_dir=folder, **sections))
        found.append(losses)
        told = [line for line in notices if "checkpointing_budget" in line]
        assert len(told) == (0 if budget is None else 1)
        if told:
            count = int(re.search(r"of (\d+) of 4 blocks", told[0]).group(1))
            assert count == (offloaded if budget == 1000 and free == 10**12 else 4)
    assert found == [found[0]] * 4


def test_both_ways_at_once_are_refused():
    options = {"checkpointing_budget": 2, "enable_gradient_checkpointing": True}
    with pytest.raises(ConfigurationError, match="checkpointing_budget 2: enable_gradient_checkp"):
        config(optimization=options)
    (problem,) = sharding_problems(config(optimization={"checkpointing_budget": 2}))
    assert problem.startswith("optimization.checkpointing_budget: can't be used with a model")


def test_a_run_goes_on_with_another_budget(training_config):
    """It changes how a result comes about, not the result."""
    first, _, _ = run(training_config(optimization={"steps": 3}), stop_after=1)
    later, losses, _ = run(training_config(optimization={"steps": 3, "checkpointing_budget": 1e-4}))
    assert later.run_folder == first.run_folder
    assert len(losses) == 2
