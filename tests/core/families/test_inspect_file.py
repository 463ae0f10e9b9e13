import json

import pytest
import torch
from safetensors.torch import save_file

from ltxv_train_core.cli import main
from ltxv_train_core.families.ltxv.miniature.comfy_file import export
from ltxv_train_core.lora.convert import convert_lora
from ltxv_train_core.lora.file import write_lora_file


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return export(tmp_path_factory.mktemp("inspect") / "checkpoint.safetensors")


@pytest.fixture
def lora(tmp_path):
    layer = "transformer_blocks.0.attn1.to_q"
    tensors = {f"{layer}.lora_A.weight": torch.ones(4, 256)}
    tensors |= {f"{layer}.lora_B.weight": torch.ones(256, 4)}
    write_lora_file(tmp_path / "lora.safetensors", tensors, 4, 8, {"strategy": "none"})
    return tmp_path / "lora.safetensors"


def facts(capsys, path):
    assert main(["inspect", str(path), "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_a_checkpoint(checkpoint, capsys):
    found = facts(capsys, checkpoint)
    assert found["kind"] == "checkpoint"
    assert found["size_bytes"] == checkpoint.stat().st_size
    assert found["dtypes"].keys() == {"F32"}
    assert found["transformer"]["num_layers"] == 4
    assert found["causal_positions"] is True
    assert found["vae"] == {"layout": "other", "prefix": "vae."}
    assert found["metadata"]["config"]["transformer"]["num_attention_heads"] == 4


def test_as_text(checkpoint, capsys):
    assert main(["inspect", str(checkpoint)]) == 0
    text = capsys.readouterr().out
    assert "kind: checkpoint\n" in text
    assert "dtypes: F32 100.0%\n" in text
    assert "causal positions: yes\n" in text


def test_a_lora_in_each_form(lora, tmp_path, capsys):
    ours = facts(capsys, lora)
    assert (ours["kind"], ours["form"], ours["rank"], ours["alpha"]) == ("LoRA", "ComfyUI", 4, None)
    assert (ours["layers"], ours["layer_kinds"]) == (1, {"attn1.to_q": 1})
    assert ours["metadata"]["alpha"] == 8
    for form, alpha in (("kohya", 4), ("diffusers", None)):
        convert_lora(lora, form, tmp_path / f"{form}.safetensors")
        found = facts(capsys, tmp_path / f"{form}.safetensors")
        assert (found["form"], found["rank"], found["alpha"]) == (form, 4, alpha)
        assert found["layers"] == 1


def test_alpha_in_every_number_format(tmp_path, capsys):
    floats = (torch.float64, torch.float32, torch.float16, torch.bfloat16)
    for dtype in (*floats, torch.float8_e4m3fn, torch.float8_e5m2, torch.int64):
        tensors = {
            "x.lora_down.weight": torch.ones(2, 3),
            "x.lora_up.weight": torch.ones(3, 2),
            "x.alpha": torch.tensor(6, dtype=dtype),
        }
        save_file(tensors, tmp_path / "x.safetensors")
        assert facts(capsys, tmp_path / "x.safetensors")["alpha"] == 6


def test_other_files(tmp_path, capsys):
    save_file({"x": torch.zeros(1)}, tmp_path / "x.safetensors")
    assert facts(capsys, tmp_path / "x.safetensors")["kind"].startswith("something unknown (1")
    (tmp_path / "broken.safetensors").write_bytes(b"\x08")
    assert main(["inspect", str(tmp_path / "broken.safetensors")]) == 1
    assert "is no safetensors file" in capsys.readouterr().err
    assert main(["inspect", str(tmp_path / "missing.safetensors")]) == 1
    assert "can't be read" in capsys.readouterr().err
