"""What merging asks of the disk, and what a conversion leaves alone."""

from types import SimpleNamespace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file

from ltxv_train_core.errors import ModelError
from ltxv_train_core.families.ltxv.miniature.weights import load_transformer
from ltxv_train_core.lora import merge
from ltxv_train_core.lora.convert import convert_lora
from ltxv_train_core.lora.file import read_lora, write_lora
from ltxv_train_core.lora.forms import LORA_FORMS
from ltxv_train_core.lora.lora import LoRALayer
from ltxv_train_core.lora.merge import merge_lora
from ltxv_train_core.storage.tensors import write_safetensors
from ltxv_train_core.units import byte_size

LAYER = "transformer_blocks.3.attn1.to_q"


def made(rank=2, alpha=2.0, seed=0):
    generator = torch.Generator().manual_seed(seed)
    down, up = (torch.randn(rank, 256, generator=generator) for _ in "ab")
    return LoRALayer(down, up.T.contiguous(), alpha)


@pytest.fixture
def files(tmp_path):
    state = {name: tensor.contiguous() for name, tensor in load_transformer().state_dict().items()}
    write_safetensors(tmp_path / "base.safetensors", state, {})
    write_lora(tmp_path / "lora.safetensors", {LAYER: made()}, {})
    return tmp_path / "base.safetensors", tmp_path / "lora.safetensors"


@pytest.mark.parametrize("missing", [0, 1])
def test_a_merge_needs_as_much_room_as_the_checkpoint(files, tmp_path, monkeypatch, missing):
    base, lora = files
    size, asked = base.stat().st_size, []

    def usage(place):
        asked.append(place)
        return SimpleNamespace(free=size - missing)

    monkeypatch.setattr(merge.shutil, "disk_usage", usage)
    output = tmp_path / "new folder" / "merged.safetensors"
    if missing:
        told = f"needs {byte_size(size)} of disk space, and {byte_size(size - 1)} are free there"
        with pytest.raises(ModelError, match=told):
            merge_lora(base, lora, output)
    else:
        merge_lora(base, lora, output)
    assert output.exists() == (not missing)
    assert asked == [output.parent]


@pytest.mark.parametrize("strength", [float("nan"), float("inf")])
def test_a_strength_is_a_number(files, tmp_path, strength):
    with pytest.raises(ModelError, match=f"strength {strength}: give a number"):
        merge_lora(*files, tmp_path / "merged.safetensors", strength)
    assert not (tmp_path / "merged.safetensors").exists()


@settings(max_examples=25, deadline=None, derandomize=True)
@given(
    forms=st.lists(st.sampled_from(LORA_FORMS), min_size=2, max_size=4),
    rank=st.integers(1, 9),
    alpha=st.floats(0.125, 100, width=32),
    seed=st.integers(0, 1000),
)
def test_a_lora_that_comes_back_by_any_way_does_the_same(
    tmp_path_factory, forms, rank, alpha, seed
):
    folder = tmp_path_factory.mktemp("forms")
    layers = {LAYER: made(rank, alpha, seed), "proj_in": made(rank + 1, 1.0, seed)}
    layers["proj_in"] = LoRALayer(layers["proj_in"].down[:, :128], layers["proj_in"].up, 1.0)
    path = folder / "0.safetensors"
    write_lora(path, layers, {"note": "kept"}, forms[0])
    for number, form in enumerate(forms[1:], start=1):
        path = convert_lora(path, form, folder / f"{number}.safetensors").output
    found = read_lora(path)
    assert found.metadata["note"] == "kept"
    for name, layer in layers.items():
        wanted = layer.alpha / layer.rank * layer.up @ layer.down
        change = found.lora[name].change()
        assert (change - wanted).abs().max() <= 1e-5 * wanted.abs().max()
        assert found.lora[name].rank == layer.rank
    assert all(tensor.dtype == torch.float32 for tensor in load_file(path).values())
