"""What merging asks of the disk, how it stores what it makes, and what a conversion leaves alone."""

import json
import re
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from ltxv_train_core.errors import ModelError
from ltxv_train_core.families.ltxv.miniature.weights import load_transformer
from ltxv_train_core.lora import merge
from ltxv_train_core.lora.convert import convert_lora
from ltxv_train_core.lora.extract import extract_lora
from ltxv_train_core.lora.file import PREFIX, read_lora, write_lora
from ltxv_train_core.lora.forms import LORA_FORMS
from ltxv_train_core.lora.lora import LoRALayer
from ltxv_train_core.lora.merge import merge_lora
from ltxv_train_core.storage.safetensors_header import read_header
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


def one_layer(path, weight, metadata=None, name=LAYER, **others):
    tensors = {f"{PREFIX}{name}.weight": weight}
    tensors |= {f"{PREFIX}{name}.{end}": tensor for end, tensor in others.items()}
    save_file(tensors, path, metadata)
    return path


def change_of_one(folder, outputs, inputs, size=1.0):
    path = folder / "one.safetensors"
    layer = LoRALayer(torch.ones(1, inputs), torch.full((outputs, 1), size), 1.0)
    write_lora(path, {LAYER: layer}, {})
    return path


@pytest.mark.parametrize(
    ("dtype", "limit"), [(torch.float8_e4m3fn, 448.0), (torch.float8_e5m2, 57344.0)]
)
@pytest.mark.parametrize("sign", [-1, 1])
def test_8_bit_weights_are_clipped_to_their_format_or_scaled_to_fit(tmp_path, dtype, limit, sign):
    weight = torch.full((2, 3), sign * 4.0).to(dtype)
    lora = change_of_one(tmp_path, 2, 3, sign * limit * 3)
    bare = one_layer(tmp_path / "bare.safetensors", weight)
    found = load_file(merge_lora(bare, lora, tmp_path / "1.safetensors").output)
    assert (found[f"{PREFIX}{LAYER}.weight"].float() == sign * limit).all()
    for end in ("scale_weight", "weight_scale"):
        scaled = one_layer(tmp_path / "s.safetensors", weight, **{end: torch.tensor(0.5)})
        output = tmp_path / f"{end}.safetensors"
        found = load_file(merge_lora(scaled, lora, output).output)
        scale = found[f"{PREFIX}{LAYER}.{end}"].item()
        assert scale == pytest.approx((limit * 3 + 2) / limit)
        assert (found[f"{PREFIX}{LAYER}.weight"].float() * scale).mean().item() == pytest.approx(
            sign * (limit * 3 + 2)
        )


def test_a_scale_stays_while_the_weights_fit(tmp_path):
    weight = torch.full((2, 3), 4.0).to(torch.float8_e4m3fn)
    base = one_layer(tmp_path / "a.safetensors", weight, scale_weight=torch.tensor(0.5))
    output = merge_lora(base, change_of_one(tmp_path, 2, 3), tmp_path / "b.safetensors").output
    found = load_file(output)
    assert found[f"{PREFIX}{LAYER}.scale_weight"].item() == 0.5
    assert (found[f"{PREFIX}{LAYER}.weight"].float() == 6).all()


def test_numbers_of_16_bit_are_not_clipped(tmp_path):
    base = one_layer(tmp_path / "a.safetensors", torch.full((2, 3), 1e5, dtype=torch.bfloat16))
    done = merge_lora(base, change_of_one(tmp_path, 2, 3, 1e5), tmp_path / "b.safetensors")
    (weight,) = load_file(done.output).values()
    assert weight.dtype == torch.bfloat16
    assert weight.float().mean().item() == pytest.approx(2e5, rel=0.01)
    assert done.notes == ()


@pytest.mark.parametrize("shape", [(2**16, 1), (2**16 + 1, 1), (1, 2**16 + 1)])
def test_a_layer_is_at_most_four_times_as_wide_as_the_widest(tmp_path, shape):
    base = one_layer(tmp_path / "a.safetensors", torch.zeros(shape))
    lora = change_of_one(tmp_path, *shape)
    if max(shape) == 65536:
        assert merge_lora(base, lora, tmp_path / "b.safetensors").layers == 1
    else:
        with pytest.raises(ModelError, match=rf"to_q\.weight has the shape .*{max(shape)}.*beyond"):
            merge_lora(base, lora, tmp_path / "b.safetensors")


@pytest.mark.parametrize("shape", [(4,), (2, 2, 1)])
def test_a_weight_that_is_no_matrix_is_refused(tmp_path, shape):
    base = one_layer(tmp_path / "a.safetensors", torch.zeros(shape))
    tuned = one_layer(tmp_path / "b.safetensors", torch.ones(shape))
    with pytest.raises(
        ModelError, match=r"to_q\.weight has the shape .*expected \[outputs, inputs"
    ):
        extract_lora(base, tuned, tmp_path / "c.safetensors", 1)


@pytest.mark.parametrize(("shape", "is_read"), [((), True), ((1,), True), ((2,), False)])
def test_one_scale_for_a_tensor_is_read(tmp_path, shape, is_read):
    scale = torch.full(shape, 2.0)
    weight = torch.full((2, 3), 3.0).to(torch.float8_e4m3fn)
    base = one_layer(tmp_path / "a.safetensors", weight, weight_scale=scale)
    lora, output = change_of_one(tmp_path, 2, 3, 4.0), tmp_path / "b.safetensors"
    if is_read:
        merge_lora(base, lora, output)
        assert (load_file(output)[f"{PREFIX}{LAYER}.weight"].float() == (6 + 4) / 2).all()
    else:
        with pytest.raises(ModelError, match="scales blocks of its weight"):
            merge_lora(base, lora, output)


def test_weights_that_are_no_floats_are_refused(tmp_path):
    base = one_layer(tmp_path / "a.safetensors", torch.zeros(2, 3, dtype=torch.int16))
    with pytest.raises(ModelError, match="is stored as I16; expected a file in float32, bf16"):
        merge_lora(base, change_of_one(tmp_path, 2, 3), tmp_path / "b.safetensors")


@pytest.mark.parametrize("shape", [(2, 2), (2, 4), (1, 3), (3, 3)])
def test_a_lora_of_a_layer_of_another_shape_is_refused(tmp_path, shape):
    base = one_layer(tmp_path / "a.safetensors", torch.zeros(2, 3))
    told = re.escape(f"weights of shape {shape}, those of a.safetensors are (2, 3)")
    with pytest.raises(ModelError, match=told):
        merge_lora(base, change_of_one(tmp_path, *shape), tmp_path / "b.safetensors")


@pytest.mark.parametrize(
    ("before", "kept"), [("[1, 2]", [1, 2]), ("{}", []), ("no JSON", []), (None, [])]
)
def test_loras_that_were_merged_before_stay_named(tmp_path, before, kept):
    metadata = {"merged_loras": before} if before else {}
    base = one_layer(tmp_path / "a.safetensors", torch.zeros(2, 3), metadata)
    done = merge_lora(base, change_of_one(tmp_path, 2, 3), tmp_path / "b.safetensors", -0.25)
    merged = json.loads(read_header(done.output).metadata["merged_loras"])
    assert merged == [*kept, {"lora": "one.safetensors", "strength": -0.25}]


def test_a_merge_tells_each_tensor(tmp_path):
    base = one_layer(tmp_path / "a.safetensors", torch.zeros(2, 3), bias=torch.zeros(2))
    told = []
    merge_lora(base, change_of_one(tmp_path, 2, 3), tmp_path / "b.safetensors", report=told.append)
    assert [(e.phase, e.done, e.total, e.unit) for e in told] == [
        ("merge", number, 2, "tensor") for number in (1, 2)
    ]
