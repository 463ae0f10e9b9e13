"""A LoRA from two checkpoints: how close it comes, and what is refused."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from ltxv_train_core.errors import Cancelled, ModelError
from ltxv_train_core.lora.extract import extract_lora
from ltxv_train_core.lora.file import read_lora

FIRST, SECOND = "transformer_blocks.0.attn1.to_q", "transformer_blocks.0.ff.net.2"


def write(path, **weights):
    """A checkpoint of two layers, or of what is given; None leaves one out."""
    tensors = {"to_q": torch.zeros(24, 24), "net_2": torch.zeros(24, 40)} | weights
    names = {"to_q": f"{FIRST}.weight", "net_2": f"{SECOND}.weight", "bias": f"{FIRST}.bias"}
    found = {f"diffusion_model.{names.get(n, n)}": t for n, t in tensors.items() if t is not None}
    save_file(found, path)
    return path


@settings(max_examples=25, deadline=None, derandomize=True)
@given(
    outputs=st.integers(1, 60),
    inputs=st.integers(1, 60),
    share=st.floats(0.01, 1),
    decay=st.floats(0.3, 0.8),
    seed=st.integers(0, 99),
)
def test_no_lora_of_the_rank_comes_closer(tmp_path_factory, outputs, inputs, share, decay, seed):
    """The error is what Eckart and Young allow, for matrices of any shape."""
    folder = tmp_path_factory.mktemp("two")
    generator = torch.Generator().manual_seed(seed)
    least = min(outputs, inputs)
    sides = [
        torch.linalg.qr(torch.randn(n, least, generator=generator)).Q for n in (outputs, inputs)
    ]
    values = 3 * decay ** torch.arange(least)
    before = torch.randn(outputs, inputs, generator=generator)
    after = before + sides[0] * values @ sides[1].T
    rank = max(1, int(share * least))
    done = extract_lora(
        write(folder / "a.safetensors", to_q=before, net_2=None),
        write(folder / "b.safetensors", to_q=after, net_2=None),
        folder / "c.safetensors",
        rank,
    )
    values = torch.linalg.svdvals(after - before)
    best = (values[rank:].square().sum() / values.square().sum()).sqrt().item()
    assert done.error == pytest.approx(best, rel=0.02, abs=2e-6)
    (layer,) = read_lora(done.output).lora.values()
    assert (layer.rank, layer.alpha) == (rank, rank)
    left = (after - before - layer.change()).norm() / values.norm()
    assert left.item() == pytest.approx(done.error, rel=1e-3, abs=2e-6)
    assert layer.up.norm().item() == pytest.approx(layer.down.norm().item(), rel=1e-3)


def test_the_error_is_over_all_layers_and_stands_in_the_file(tmp_path):
    base = write(tmp_path / "a.safetensors")
    tuned = write(
        tmp_path / "b.safetensors",
        to_q=torch.diag(torch.tensor([4.0, 3.0] + [0.0] * 22)),
        net_2=torch.full((24, 40), 0.5),
    )
    told = []
    done = extract_lora(base, tuned, tmp_path / "c.safetensors", 1, told.append)
    whole = 4**2 + 3**2 + 24 * 40 * 0.25
    assert done.error == pytest.approx((9 / whole) ** 0.5, rel=1e-4)
    assert (done.layers, done.notes, done.output.name) == (2, (), "c.safetensors")
    assert [(e.phase, e.done, e.total, e.unit) for e in told] == [
        ("extract", number, 2, "layer") for number in (1, 2)
    ]
    metadata = read_lora(done.output).metadata
    assert float(metadata["extract_error"]) == pytest.approx(done.error, rel=1e-5)
    assert {k: metadata[k] for k in ("rank", "alpha", "base_model", "modelspec.title")} == {
        "rank": "1",
        "alpha": "1",
        "base_model": "a.safetensors",
        "modelspec.title": "b",
    }


@pytest.mark.parametrize("shape", [(24, 23), (24, 25), (23, 24), (25, 24)])
@pytest.mark.parametrize("turned", [False, True])
def test_a_layer_of_another_shape_is_refused(tmp_path, shape, turned):
    files = [
        write(tmp_path / "a.safetensors"),
        write(tmp_path / "b.safetensors", to_q=torch.zeros(shape)),
    ]
    before, after = reversed(files) if turned else files
    with pytest.raises(ModelError, match=rf"of the size of {before.name}; .*attn1\.to_q$"):
        extract_lora(before, after, tmp_path / "c.safetensors", 1)


@pytest.mark.parametrize("turned", [False, True])
def test_a_layer_that_one_file_lacks_is_refused(tmp_path, turned):
    files = [
        write(tmp_path / "a.safetensors"),
        write(tmp_path / "b.safetensors", net_2=None),
    ]
    before, after = reversed(files) if turned else files
    with pytest.raises(ModelError, match=r"no model of the size of .*ff\.net\.2$"):
        extract_lora(before, after, tmp_path / "c.safetensors", 1)


def test_a_rank_is_from_1_to_that_of_the_largest_layer(tmp_path):
    base = write(tmp_path / "a.safetensors", to_q=torch.zeros(8, 8))
    tuned = write(tmp_path / "b.safetensors", to_q=torch.eye(8), net_2=torch.ones(24, 40))
    for rank in (-1, 0):
        with pytest.raises(ModelError, match=f"rank {rank}: give a rank from 1 on"):
            extract_lora(base, tuned, tmp_path / "c.safetensors", rank)
    with pytest.raises(ModelError, match="rank 25: the layers have at most 24 of them"):
        extract_lora(base, tuned, tmp_path / "c.safetensors", 25)
    for rank in (1, 24):
        done = extract_lora(base, tuned, tmp_path / f"{rank}.safetensors", rank)
        assert {layer.rank for layer in read_lora(done.output).lora.values()} == {rank}


def test_a_layer_that_does_not_differ_is_left_out(tmp_path):
    base = write(tmp_path / "a.safetensors", bias=torch.ones(24))
    tuned = write(tmp_path / "b.safetensors", bias=torch.ones(24).half(), to_q=torch.eye(24))
    done = extract_lora(base, tuned, tmp_path / "c.safetensors", 24)
    assert (list(read_lora(done.output).lora), done.layers, done.notes) == ([FIRST], 1, ())
    other = write(tmp_path / "d.safetensors", bias=torch.zeros(24), to_q=torch.eye(24))
    (note,) = extract_lora(base, other, tmp_path / "e.safetensors", 24).notes
    assert note == f"differ too, and no LoRA can hold them: {FIRST}.bias"


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_numbers_that_are_not_finite_are_refused(tmp_path, value):
    base = write(tmp_path / "a.safetensors")
    weights = torch.eye(24)
    weights[5, 7] = value
    tuned = write(tmp_path / "b.safetensors", to_q=weights)
    with pytest.raises(ModelError, match=rf"{FIRST} differs by numbers that are not finite"):
        extract_lora(base, tuned, tmp_path / "c.safetensors", 1)


def test_it_draws_from_no_random_numbers_of_others_and_stops_when_told(tmp_path):
    class Stopped:
        def is_set(self):
            return True

    base = write(tmp_path / "a.safetensors")
    tuned = write(tmp_path / "b.safetensors", to_q=torch.eye(24))
    before = torch.get_rng_state()
    extract_lora(base, tuned, tmp_path / "c.safetensors", 2)
    assert torch.equal(torch.get_rng_state(), before)
    with pytest.raises(Cancelled):
        extract_lora(base, tuned, tmp_path / "d.safetensors", 2, stop=Stopped())
    assert not (tmp_path / "d.safetensors").exists()


def test_numbers_that_are_too_large_to_be_factored_are_refused(tmp_path):
    base = write(tmp_path / "a.safetensors")
    generator = torch.Generator().manual_seed(0)
    large = torch.randn(24, 24, generator=generator) * 5e37
    tuned = write(tmp_path / "b.safetensors", to_q=large)
    with pytest.raises(ModelError, match=rf"{FIRST} differs by numbers that are too large to be"):
        extract_lora(base, tuned, tmp_path / "c.safetensors", 1)


def test_singular_values_that_hardly_fall_cost_less_than_a_thousandth(tmp_path):
    """The hardest case of a search by random vectors: noise, of which a sixth is taken."""
    noise = torch.randn(96, 96, generator=torch.Generator().manual_seed(0))
    base = write(tmp_path / "a.safetensors", to_q=torch.zeros(96, 96), net_2=None)
    tuned = write(tmp_path / "b.safetensors", to_q=noise, net_2=None)
    done = extract_lora(base, tuned, tmp_path / "c.safetensors", 16)
    values = torch.linalg.svdvals(noise)
    best = (values[16:].square().sum() / values.square().sum()).sqrt().item()
    assert best <= done.error + 1e-6
    assert done.error < best * 1.0007
