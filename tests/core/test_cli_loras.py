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
