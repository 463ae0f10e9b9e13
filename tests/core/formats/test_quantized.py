"""Model files that are not read are named for what they are, with what to use instead."""

import json

import pytest
import torch
from safetensors.torch import save_file

from ltxv_train_core.errors import ModelError
from ltxv_train_core.families.ltxv.detect import read_contents
from ltxv_train_core.families.ltxv.opening import open_text_encoder, open_vae
from ltxv_train_core.families.open import open_model
from ltxv_train_core.lora.checkpoint_weights import open_checkpoint

LAYER = "model.diffusion_model.transformer_blocks.0.attn2.to_k"
OPENERS = (open_model, open_text_encoder, open_vae)


def described(form: str) -> torch.Tensor:
    return torch.tensor(list(json.dumps({"format": form}).encode()), dtype=torch.uint8)


FILES = {
    "nvfp4": {
        "weight": torch.zeros(8, 4, dtype=torch.uint8),
        "weight_scale": torch.zeros(8, 1, dtype=torch.float8_e4m3fn),
        "weight_scale_2": torch.ones(()),
    },
    "mxfp8": {
        "weight": torch.zeros(8, 32, dtype=torch.float8_e4m3fn),
        "weight_scale": torch.zeros(8, 1, dtype=torch.uint8),
    },
    "int8": {"weight": torch.zeros(8, 8, dtype=torch.int8), "weight_scale": torch.ones(())},
    "4 bit": {"weight": torch.zeros(32, 1, dtype=torch.uint8)},
    "int8_tensorwise": {
        "weight": torch.zeros(8, 8, dtype=torch.int8),
        "comfy_quant": described("int8_tensorwise"),
    },
    "convrot_w4a4": {
        "weight": torch.zeros(8, 8, dtype=torch.int8),
        "comfy_quant": described("convrot_w4a4"),
    },
    "GPTQ, AWQ or SVDQuant": {"qweight": torch.zeros(8, 8, dtype=torch.int32)},
    "bitsandbytes": {"weight.absmax": torch.zeros(8), "weight": torch.zeros(32, 1)},
    "quanto": {"weight._data": torch.zeros(8, 8, dtype=torch.int8)},
}


@pytest.mark.parametrize("form", FILES)
def test_a_quantized_file_is_refused_by_the_name_of_its_form(tmp_path, form):
    path = tmp_path / "model.safetensors"
    save_file({f"{LAYER}.{name}": tensor for name, tensor in FILES[form].items()}, path)
    assert f"quantized ({form}" in read_contents(path).kind
    for attempt in OPENERS:
        with pytest.raises(ModelError, match=rf"is quantized \({form}.*use the file in bf16"):
            attempt(str(path))
    with pytest.raises(ModelError, match=rf"is quantized \({form}"), open_checkpoint(path):
        pass


def test_formats_in_the_metadata_count(tmp_path):
    path = tmp_path / "model.safetensors"
    layers = {"layers": {LAYER: {"format": "nvfp4"}}}
    save_file({"x": torch.zeros(1)}, path, {"_quantization_metadata": json.dumps(layers)})
    assert "quantized (nvfp4)" in read_contents(path).kind


@pytest.mark.parametrize("form", ["float8_e4m3fn", "float8_e5m2"])
def test_fp8_is_read_and_so_no_quantization_here(tmp_path, form):
    path = tmp_path / "model.safetensors"
    weight = torch.zeros(8, 8).to(getattr(torch, form))
    save_file({f"{LAYER}.weight": weight, f"{LAYER}.comfy_quant": described(form)}, path)
    assert read_contents(path).quantization is None


@pytest.mark.parametrize(
    ("start", "named"),
    [
        (b"GGUF\x03\0\0\0\x10\0\0\0\0\0\0\0", "a GGUF file"),
        (b"PK\x03\x04\0\0\x08\x08", r"a PyTorch file \(.pt"),
        (b"\x80\x02\x8a\x0al\xfc\x9cF\xf9", r"a PyTorch file \(.pt"),
        (b"<!DOCTYPE html><html>", "a web page"),
        (b"version https://git-lfs.github.com/spec/v1\n", "the pointer .* Git LFS"),
    ],
)
def test_another_kind_of_file_is_named(tmp_path, start, named):
    path = tmp_path / "model.safetensors"
    path.write_bytes(start + bytes(200))
    for attempt in OPENERS:
        with pytest.raises(ModelError, match=rf"is no safetensors file, but {named}.*; (use|down)"):
            attempt(str(path))
