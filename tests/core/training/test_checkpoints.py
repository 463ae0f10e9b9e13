"""LoRAs folded into checkpoints, made smaller, and found as the difference of two."""

import json
import weakref
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from ltxv_train_core.errors import Cancelled, ModelError
from ltxv_train_core.events import Progress
from ltxv_train_core.families.ltxv.miniature.weights import load_transformer
from ltxv_train_core.families.names import TRANSFORMER_PREFIX
from ltxv_train_core.families.registry import comfy_name
from ltxv_train_core.lora import extract
from ltxv_train_core.lora.extract import extract_lora
from ltxv_train_core.lora.file import read_lora, write_lora
from ltxv_train_core.lora.lora import LoRALayer
from ltxv_train_core.lora.merge import merge_lora
from ltxv_train_core.lora.resize import resize_lora
from ltxv_train_core.storage.tensors import StoredTensor, stream_safetensors

LAYERS = {
    "proj_in": (128, 256),
    "transformer_blocks.3.attn1.to_q": (256, 256),
    "transformer_blocks.1.ff.net.0.proj": (256, 1024),
}


def lora(rank: int = 4, layers=LAYERS, scale: float = 0.05) -> dict[str, LoRALayer]:
    generator = torch.Generator().manual_seed(0)
    return {
        name: LoRALayer(
            torch.randn(rank, inputs, generator=generator) * scale,
            torch.randn(outputs, rank, generator=generator) * scale,
            2.0,
        )
        for name, (inputs, outputs) in layers.items()
    }


@pytest.fixture(scope="module")
def state() -> dict[str, torch.Tensor]:
    return load_transformer().state_dict()


def checkpoint(
    path: Path, state: dict, prefix: str = TRANSFORMER_PREFIX, rename=comfy_name
) -> Path:
    tensors = {prefix + rename(name): tensor.contiguous() for name, tensor in state.items()}
    tensors["vae.per_channel_statistics.mean-of-means"] = torch.arange(128.0)
    save_file(tensors, path, {"config": '{"transformer": {}}', "format": "pt"})
    return path


@pytest.fixture
def lora_file(tmp_path) -> Path:
    path = tmp_path / "my-lora.safetensors"
    write_lora(path, lora(), {"rank": "4"}, "kohya")
    return path


@pytest.mark.parametrize(
    ("prefix", "rename"),
    [
        (TRANSFORMER_PREFIX, comfy_name),
        ("diffusion_model.", comfy_name),
        ("", comfy_name),
        ("", str),
    ],
    ids=["checkpoint", "diffusion model", "bare", "diffusers"],
)
def test_merged_weights_are_base_plus_lora(tmp_path, state, lora_file, prefix, rename):
    base = checkpoint(tmp_path / "base.safetensors", state, prefix, rename)
    done = merge_lora(base, lora_file, tmp_path / "merged.safetensors", strength=0.5)
    assert (done.layers, done.notes) == (3, ())
    before, after = load_file(base), load_file(done.output)
    changed = {f"{prefix}{rename(name)}.weight": layer for name, layer in lora().items()}
    assert before.keys() == after.keys()
    for key, tensor in before.items():
        wanted = tensor + 0.5 * changed[key].change() if key in changed else tensor
        assert torch.allclose(after[key], wanted, atol=1e-7), key
        assert (key in changed) == (not torch.equal(after[key], tensor))
    with safe_open(done.output, "pt") as file:
        metadata = file.metadata()
    assert metadata["config"] == '{"transformer": {}}'
    assert json.loads(metadata["merged_loras"]) == [{"lora": lora_file.name, "strength": 0.5}]


def test_merging_back_gives_the_base_again(tmp_path, state, lora_file):
    base = checkpoint(tmp_path / "base.safetensors", state)
    there = merge_lora(base, lora_file, tmp_path / "there.safetensors").output
    back = merge_lora(there, lora_file, tmp_path / "back.safetensors", strength=-1).output
    ours, theirs = load_file(back), load_file(base)
    assert all(torch.allclose(ours[key], theirs[key], atol=1e-6) for key in theirs)
    with safe_open(back, "pt") as file:
        assert [m["strength"] for m in json.loads(file.metadata()["merged_loras"])] == [1.0, -1]


@pytest.mark.parametrize("scaled", [False, True])
@pytest.mark.parametrize("strength", [0.0, 1.0, 400.0])
def test_an_8_bit_checkpoint_stays_one(tmp_path, state, lora_file, scaled, strength):
    """Also where the LoRA makes values larger than the old scale would allow."""
    base = checkpoint(tmp_path / "base.safetensors", state)
    tensors = load_file(base)
    key = f"{TRANSFORMER_PREFIX}transformer_blocks.3.attn1.to_q.weight"
    scale = tensors[key].abs().max() / 448 if scaled else torch.tensor(1.0)
    scale_key = key.replace("weight", "scale_weight")
    if scaled:
        tensors[scale_key] = scale
    tensors[key] = (tensors[key] / scale).to(torch.float8_e4m3fn)
    save_file(tensors, base)
    done = merge_lora(base, lora_file, tmp_path / "merged.safetensors", strength)
    assert "1 layers are stored in 8 bit" in done.notes[0]
    merged = load_file(done.output)
    assert merged[key].dtype == torch.float8_e4m3fn
    change = lora()["transformer_blocks.3.attn1.to_q"].change() * strength
    wanted = tensors[key].float() * scale + change
    new_scale = merged[scale_key] if scaled else scale
    if scaled:
        assert new_scale.item() == pytest.approx(max(scale.item(), wanted.abs().max().item() / 448))
    found = merged[key].float() * new_scale
    assert (found - wanted).norm() / wanted.norm() < 0.04  # three bits of mantissa
    if strength == 0:
        assert all(torch.equal(merged[k].float(), t.float()) for k, t in tensors.items())


def test_what_does_not_fit_is_refused_and_nothing_is_written(tmp_path, state, lora_file):
    base, output = checkpoint(tmp_path / "base.safetensors", state), tmp_path / "out.safetensors"
    other = tmp_path / "other.safetensors"

    def refused(made: dict, match: str) -> None:
        other.unlink(missing_ok=True)
        write_lora(other, made, {})
        with pytest.raises(ModelError, match=match):
            merge_lora(base, other, output)
        assert not output.exists()

    refused(lora(layers={"transformer_blocks.9.attn1.to_q": (256, 256)}), "1 of its 1 layers")
    refused(lora(layers={"proj_in": (128, 512)}), r"proj_in .*\(512, 128\).*\(256, 128\)")
    save_file({"x": torch.zeros(1)}, other)
    with pytest.raises(ModelError, match="holds no transformer of LTX-Video"):
        merge_lora(other, lora_file, output)
    with pytest.raises(ModelError, match="is there already"):
        merge_lora(base, lora_file, base)
    scale = f"{TRANSFORMER_PREFIX}transformer_blocks.3.attn1.to_q.weight_scale"
    save_file(load_file(base) | {scale: torch.ones(256, 8)}, other)
    with pytest.raises(ModelError, match=r"to_q\.weight_scale scales blocks"):
        merge_lora(other, lora_file, output)


def test_a_stopped_merge_leaves_nothing(tmp_path, state, lora_file):
    class AfterTen:
        asked = 0

        def is_set(self) -> bool:
            self.asked += 1
            return self.asked > 10

    base, seen = checkpoint(tmp_path / "base.safetensors", state), []
    with pytest.raises(Cancelled):
        merge_lora(base, lora_file, tmp_path / "out.safetensors", 1.0, seen.append, AfterTen())
    assert [event.done for event in seen if isinstance(event, Progress)] == list(range(1, 11))
    assert {p.name for p in tmp_path.iterdir()} == {"base.safetensors", lora_file.name}


def test_streaming_holds_one_tensor_at_a_time(tmp_path):
    path, alive = tmp_path / "large.safetensors", weakref.WeakSet()

    def make(number: int) -> torch.Tensor:
        assert len(alive) == 0
        tensor = torch.full((1000,), float(number))
        alive.add(tensor.untyped_storage())
        return tensor

    entries = [StoredTensor(f"t{n}", "F32", (1000,), 4000, lambda n=n: make(n)) for n in range(32)]
    stream_safetensors(path, entries, {"a": "ä"})
    tensors = load_file(path)
    assert [tensors[f"t{n}"][0].item() for n in range(32)] == list(range(32))
    with safe_open(path, "pt") as file:
        assert file.metadata() == {"a": "ä"}


def low_rank(true_rank: int, rank: int) -> dict[str, LoRALayer]:
    """A LoRA of a rank whose changes have a smaller one, up to small noise."""
    made = {}
    for name, layer in lora(rank).items():
        down = layer.down.clone()
        down[true_rank:] *= 1e-3
        made[name] = LoRALayer(down, layer.up, layer.alpha)
    return made


def test_resizing_to_a_rank_tells_the_error_it_makes(tmp_path):
    made, source = lora(8), tmp_path / "lora.safetensors"
    write_lora(source, made, {"rank": "8", "alpha": "2", "base_model": "LTXV"})
    done = resize_lora(source, tmp_path / "small.safetensors", rank=3)
    small = read_lora(done.output)
    assert {layer.rank for layer in small.lora.values()} == {done.rank} == {3}
    lost = {n: (x.change() - small.lora[n].change()).square().sum() for n, x in made.items()}
    whole = {n: x.change().square().sum() for n, x in made.items()}
    measured = (sum(lost.values()) / sum(whole.values())).sqrt().item()
    assert done.error == pytest.approx(measured, rel=1e-4)
    assert 0.3 < done.error < 1
    shares = {name: (lost[name] / whole[name]).sqrt().item() for name in made}
    assert done.worst == (
        max(shares, key=shares.get),
        pytest.approx(max(shares.values()), rel=1e-4),
    )
    assert (small.metadata["rank"], small.metadata["base_model"]) == ("3", "LTXV")
    # No other matrices of that rank come closer (Eckart-Young).
    best = sum(torch.linalg.svdvals(x.change())[3:].square().sum() for x in made.values())
    assert measured == pytest.approx((best / sum(whole.values())).sqrt().item(), rel=1e-3)


def test_resizing_by_energy_finds_the_true_rank(tmp_path):
    source = tmp_path / "lora.safetensors"
    write_lora(source, low_rank(3, 8), {})
    done = resize_lora(source, tmp_path / "small.safetensors", energy=0.999)
    assert (done.rank, done.error < 0.01) == (3, True)
    whole = resize_lora(source, tmp_path / "whole.safetensors", energy=1)
    assert (whole.rank, whole.error < 1e-6) == (8, True)


def test_layers_of_any_rank_become_one_rank(tmp_path):
    """Of a smaller one than asked for, and of one above what a layer of 128 inputs can use."""
    made = lora(4) | {"proj_in": lora(160)["proj_in"]}
    source = tmp_path / "lora.safetensors"
    write_lora(source, made, {})
    done = resize_lora(source, tmp_path / "small.safetensors", rank=144)
    small = read_lora(done.output).lora
    assert {layer.rank for layer in small.values()} == {144}
    assert done.error < 1e-6
    for name, layer in made.items():
        assert torch.allclose(small[name].change(), layer.change(), atol=1e-5)


def test_a_rank_that_is_not_smaller_is_refused(tmp_path, lora_file):
    output = tmp_path / "out.safetensors"
    with pytest.raises(ModelError, match="has rank 4"):
        resize_lora(lora_file, output, rank=4)
    with pytest.raises(ModelError, match="above 0 and up to 1"):
        resize_lora(lora_file, output, energy=99)
    assert not output.exists()


@pytest.mark.parametrize("device", ["cpu", "mps"])
def test_extracting_finds_what_was_merged(tmp_path, state, lora_file, monkeypatch, device):
    monkeypatch.setattr(extract, "default_device", lambda: torch.device(device))
    base = checkpoint(tmp_path / "base.safetensors", state)
    tuned = merge_lora(base, lora_file, tmp_path / "tuned.safetensors").output
    done = extract_lora(base, tuned, tmp_path / "found.safetensors", rank=4)
    assert (done.layers, done.notes) == (3, ())
    assert done.error < 1e-3
    found = read_lora(done.output)
    assert found.metadata["extracted_from"] == "tuned.safetensors"
    for name, layer in lora().items():
        assert torch.allclose(found.lora[name].change(), layer.change(), atol=1e-5)
    large = extract_lora(base, tuned, tmp_path / "large.safetensors", rank=160)
    assert {layer.rank for layer in read_lora(large.output).lora.values()} == {160}
    small = extract_lora(base, tuned, tmp_path / "small.safetensors", rank=2)
    best = sum(torch.linalg.svdvals(x.change())[2:].square().sum() for x in lora().values())
    whole = sum(x.change().square().sum() for x in lora().values())
    assert small.error == pytest.approx((best / whole).sqrt().item(), rel=1e-3)


def test_extracting_says_what_no_lora_can_hold(tmp_path, state, lora_file):
    base = checkpoint(tmp_path / "base.safetensors", state)
    bias = "transformer_blocks.0.attn1.to_q.bias"
    layer = "transformer_blocks.0.attn1.to_q.weight"
    changed = state | {bias: state[bias] + 1, layer: state[layer] * 1.5}
    tuned = checkpoint(tmp_path / "tuned.safetensors", changed, "", str)
    done = extract_lora(base, tuned, tmp_path / "found.safetensors", rank=256)
    assert (done.layers, len(done.notes)) == (1, 1)
    assert bias in done.notes[0]
    with pytest.raises(ModelError, match="don't differ"):
        extract_lora(base, base, tmp_path / "none.safetensors", rank=4)
    half = {n: t for n, t in state.items() if not n.startswith("transformer_blocks.3")}
    other = checkpoint(tmp_path / "other.safetensors", half)
    with pytest.raises(ModelError, match="no model of the size of base"):
        extract_lora(base, other, tmp_path / "none.safetensors", rank=4)
