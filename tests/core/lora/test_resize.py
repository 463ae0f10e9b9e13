"""A smaller rank: which one keeps a share of the energy, and what is lost."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ltxv_train_core.errors import ModelError
from ltxv_train_core.lora.file import read_lora, write_lora
from ltxv_train_core.lora.lora import LoRALayer
from ltxv_train_core.lora.resize import resize_lora

NAMES = ("transformer_blocks.0.attn1.to_q", "transformer_blocks.0.attn1.to_k")


def diagonal(*values):
    """A layer with these singular values."""
    rank = len(values)
    return LoRALayer(torch.eye(rank, 12), torch.diag(torch.tensor(values)), float(rank))


def write(folder, *layers):
    path = folder / "lora.safetensors"
    write_lora(path, dict(zip(NAMES, layers, strict=False)), {}, "kohya")
    return path


SIZES = st.lists(st.integers(1, 9).map(float), min_size=2, max_size=6)


@settings(max_examples=30, deadline=None, derandomize=True)
@given(sizes=st.tuples(SIZES, SIZES), energy=st.floats(0.01, 1))
def test_the_smallest_rank_that_keeps_the_energy_is_taken(tmp_path_factory, sizes, energy):
    folder = tmp_path_factory.mktemp("energy")
    done = resize_lora(
        write(folder, *(diagonal(*each) for each in sizes)), folder / "b.safetensors", energy=energy
    )
    values = [sorted(each, reverse=True) for each in sizes]
    whole = sum(value**2 for each in values for value in each)

    def kept(rank):
        return sum(value**2 for each in values for value in each[:rank]) / whole

    assert kept(done.rank) >= energy - 1e-9
    assert done.rank == 1 or kept(done.rank - 1) < energy
    lost = 1 - kept(done.rank)
    assert done.error == pytest.approx(lost**0.5, abs=1e-5)
    own = {
        name: (sum(v**2 for v in each[done.rank :]) / sum(v**2 for v in each)) ** 0.5
        for name, each in zip(NAMES, values, strict=True)
    }
    assert done.worst[1] == pytest.approx(max(own.values()), abs=1e-5)
    assert own[done.worst[0]] == pytest.approx(done.worst[1], abs=1e-5)
    for layer in read_lora(done.output).lora.values():
        assert (layer.rank, layer.alpha) == (done.rank, done.rank)
        assert layer.up.norm().item() == pytest.approx(layer.down.norm().item())


def test_alpha_counts_and_the_file_says_what_was_done(tmp_path):
    made = LoRALayer(torch.eye(3, 12), torch.diag(torch.tensor([3.0, 2.0, 1.0])), 6.0)
    done = resize_lora(write(tmp_path, made), tmp_path / "b.safetensors", rank=2)
    found = read_lora(done.output)
    change = found.lora[NAMES[0]].change()
    assert torch.allclose(change.diagonal(), torch.tensor([6.0, 4.0, 0.0]), atol=1e-5)
    assert done.error == pytest.approx((4 / (36 + 16 + 4)) ** 0.5)
    facts = {"rank": "2", "alpha": "2", "resized_from_rank": "3", "resize_error": "0.267261"}
    assert facts.items() <= found.metadata.items()


def test_a_rank_is_from_1_to_one_less_than_before(tmp_path):
    source = write(tmp_path, diagonal(3.0, 2.0, 1.0), diagonal(3.0, 2.0, 1.0))
    for rank in (-1, 0, 3, 4):
        with pytest.raises(ModelError, match="has rank 3; give a smaller rank than that, from 1"):
            resize_lora(source, tmp_path / "b.safetensors", rank=rank)
    for rank in (1, 2):
        assert resize_lora(source, tmp_path / f"{rank}.safetensors", rank=rank).rank == rank


def test_layers_of_several_ranks_may_take_the_largest_and_no_more(tmp_path):
    source = write(tmp_path, diagonal(3.0, 2.0, 1.0), diagonal(3.0))
    with pytest.raises(ModelError, match="has rank 3"):
        resize_lora(source, tmp_path / "b.safetensors", rank=4)
    done = resize_lora(source, tmp_path / "c.safetensors", rank=3)
    assert done.error < 1e-6
    assert resize_lora(source, tmp_path / "d.safetensors", rank=1).worst[0] == NAMES[0]


@pytest.mark.parametrize("energy", [-1.0, 0.0, 1.001, float("nan")])
def test_an_energy_is_a_share(tmp_path, energy):
    source = write(tmp_path, diagonal(3.0, 2.0))
    with pytest.raises(ModelError, match=f"energy {energy}: give a share above 0 and up to 1"):
        resize_lora(source, tmp_path / "b.safetensors", energy=energy)


def test_a_layer_that_does_nothing_loses_nothing(tmp_path):
    source = write(tmp_path, diagonal(0.0, 0.0), diagonal(4.0, 3.0))
    done = resize_lora(source, tmp_path / "b.safetensors", rank=1)
    assert (done.error, done.worst) == (pytest.approx(0.6), (NAMES[1], pytest.approx(0.6)))
    source.unlink()
    done = resize_lora(write(tmp_path, diagonal(0.0, 0.0)), tmp_path / "c.safetensors", rank=1)
    assert (done.error, done.worst) == (0.0, ("", 0.0))
