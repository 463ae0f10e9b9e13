"""LoRA files and checkpoints on the command line."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from ltxv_train_core.cli import main

LAYER = "transformer_blocks.0.attn1.to_q"


@pytest.fixture
def lora_file(tmp_path):
    path = tmp_path / "lora.safetensors"
    tensors = {f"diffusion_model.{LAYER}.lora_{x}.weight": torch.ones(4, 4) for x in "AB"}
    save_file(tensors | {"diffusion_model.nowhere.alpha": torch.ones(1)}, path)
    return path


def test_convert(lora_file, tmp_path, capsys):
    output = tmp_path / "kohya.safetensors"
    arguments = ["convert", str(lora_file), "--to", "kohya", "--output", str(output)]
    assert main(arguments) == 0
    told = capsys.readouterr()
    assert Path(told.out.strip()) == output
    assert "diffusion_model.nowhere.alpha" in told.err
    assert len(load_file(output)) == 3
    assert main(arguments) == 1
    assert "is there already" in capsys.readouterr().err


def test_merge_extract_and_resize(tmp_path, capsys):
    weight = torch.randn(4, 4, generator=torch.Generator().manual_seed(0))
    base, tuned = tmp_path / "base.safetensors", tmp_path / "tuned.safetensors"
    save_file({f"model.diffusion_model.{LAYER}.weight": weight}, base)
    save_file({f"model.diffusion_model.{LAYER}.weight": weight + torch.eye(4)}, tuned)

    def run(*arguments: str) -> list[str]:
        assert main([str(argument) for argument in arguments]) == 0
        return capsys.readouterr().out.strip().splitlines()

    found, small, merged = (tmp_path / f"{n}.safetensors" for n in ("found", "small", "merged"))
    lines = run("extract", base, tuned, "--rank", 4, "--output", found)
    assert lines == ["1 layers, error 0.0000", str(found)]
    lines = run("resize", found, "--rank", 2, "--output", small)
    # Half of the four equal singular values are lost: the error is the root of 1/2.
    assert lines == [f"rank 2, error 0.7071, at most 0.7071 ({LAYER})", str(small)]
    assert run("merge", base, found, "--strength", 2, "--output", merged) == [str(merged)]
    (result,) = load_file(merged).values()
    assert torch.allclose(result, weight + 2 * torch.eye(4), atol=1e-5)
