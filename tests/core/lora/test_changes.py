"""What a LoRA changes, layer by layer."""

import json
import math

import pytest
import torch

from ltxv_train_core.cli import main
from ltxv_train_core.errors import ModelError
from ltxv_train_core.lora.changes import LoRAChanges
from ltxv_train_core.lora.file import write_lora_file
from ltxv_train_core.lora.lora import LoRALayer


def layer(rank, outputs, inputs, seed=0, alpha=None, factor=1.0):
    random = torch.Generator().manual_seed(seed)
    down = torch.randn(rank, inputs, generator=random)
    up = factor * torch.randn(outputs, rank, generator=random)
    return LoRALayer(down, up, alpha or rank)


def name(block, kind):
    return f"transformer_blocks.{block}.{kind}"


def test_size_and_directions_are_those_of_what_is_added():
    one = layer(8, 48, 32, alpha=4.0)
    (found,) = LoRAChanges.of({name(3, "attn1.to_q"): one}).layers
    change = one.change().double()
    assert (found.block, found.kind, found.rank) == (3, "attn1.to_q", 8)
    assert found.size == pytest.approx(change.square().mean().sqrt().item(), rel=1e-5)
    values = torch.linalg.svdvals(change)[:8]
    shares = values / values.sum()
    assert found.directions == pytest.approx(math.exp(-(shares * shares.log()).sum()), rel=1e-5)


def test_one_direction_is_one_and_nothing_is_none():
    up, down = torch.ones(6, 4), torch.ones(4, 5)
    same, nothing = LoRALayer(down, up, 4.0), LoRALayer(down, 0 * up, 4.0)
    found = LoRAChanges.of({name(0, "a"): same, name(0, "b"): nothing}).layers
    assert found[0].directions == pytest.approx(1.0)
    assert found[0].size == pytest.approx(4.0)
    assert (found[1].size, found[1].directions) == (0.0, 0.0)


def test_layers_that_learned_nothing_are_named():
    lora = {name(block, "attn1.to_q"): layer(2, 8, 8, block) for block in range(12)}
    lora |= {name(block, "ff.net.2"): layer(2, 8, 8, block, factor=1e-4) for block in range(2)}
    lora["proj_out"] = layer(2, 8, 8)
    changes = LoRAChanges.of(lora)
    assert [(each.block, each.kind) for each in changes.barely] == [
        (0, "ff.net.2"),
        (1, "ff.net.2"),
    ]
    assert "2 of 15 layers barely changed (ff.net.2)" in changes.notes[-1]
    found = changes.as_json()
    assert found["blocks"] == list(range(12))
    assert found["kinds"] == ["attn1.to_q", "ff.net.2"]
    assert [row[1] is None for row in found["sizes"]] == [False] * 2 + [True] * 10
    assert [each["layer"] for each in found["others"]] == ["proj_out"]


def test_a_rank_that_is_far_too_large_is_said():
    random = torch.Generator().manual_seed(0)
    up, down = torch.randn(64, 1, generator=random), torch.randn(1, 64, generator=random)
    wide = LoRALayer(down.repeat(16, 1), up.repeat(1, 16), 16.0)
    (first, *_) = LoRAChanges.of({name(0, "attn1.to_q"): wide}).notes
    assert first == (
        "1.0 of 16 directions are used, on average: a smaller lora.rank would hold it, see `resize`"
    )
    (first, *_) = LoRAChanges.of({name(0, "attn1.to_q"): layer(16, 64, 64)}).notes
    assert "smaller" not in first


def test_the_command_draws_it(tmp_path, capsys):
    file = tmp_path / "some.safetensors"
    tensors = {}
    for block in range(3):
        one = layer(4, 16, 16, block, factor=block + 1.0)
        tensors[f"{name(block, 'attn1.to_q')}.lora_A.weight"] = one.down
        tensors[f"{name(block, 'attn1.to_q')}.lora_B.weight"] = one.up
    write_lora_file(file, tensors, 4, 4, {})
    assert main(["inspect", "--layers", str(file)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[:2] == ["a  attn1.to_q", "block a"]
    assert [line.split()[0] for line in lines[2:5]] == ["0", "1", "2"]
    assert lines[4].endswith("@")
    assert main(["inspect", "--layers", "--json", str(file)]) == 0
    assert json.loads(capsys.readouterr().out)["kinds"] == ["attn1.to_q"]


def test_kinds_of_layers_are_letters():
    lora = {name(0, f"ff.net.{number}"): layer(2, 8, 8) for number in range(28)}
    heads = LoRAChanges.of(lora).as_text().splitlines()[:28]
    assert "".join(head[0] for head in heads) == "abcdefghijklmnopqrstuvwxyzab"


def test_a_rank_larger_than_the_layer_takes_no_more_than_the_layer():
    wide = LoRALayer(torch.ones(200_000, 3), torch.ones(2, 200_000), 1.0)
    (found,) = LoRAChanges.of({name(0, "attn1.to_q"): wide}).layers
    assert (found.rank, found.size) == (200_000, pytest.approx(1.0))
    assert found.directions == pytest.approx(1.0, abs=1e-6)


@pytest.mark.parametrize("rank", [2, 9])
def test_numbers_that_are_too_large_are_told(rank):
    down = torch.full((rank, 5), 1e200, dtype=torch.float64)
    with pytest.raises(ModelError, match=r"attn1\.to_q: has numbers too large"):
        LoRAChanges.of({name(0, "attn1.to_q"): LoRALayer(down, down[:, :4].T.contiguous(), rank)})


@pytest.mark.parametrize("alpha", [1e200, float("inf")])
def test_an_alpha_that_is_too_large_is_told(alpha):
    with pytest.raises(ModelError, match=r"attn1\.to_q: has numbers too large"):
        LoRAChanges.of({name(0, "attn1.to_q"): layer(2, 4, 5, alpha=alpha)})
