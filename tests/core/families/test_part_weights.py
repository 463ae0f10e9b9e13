"""Folders of a model that are incomplete are found before anything is loaded."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from ltxv_train_core.errors import ModelError
from ltxv_train_core.families.ltxv.diffusers_folder import require_part
from ltxv_train_core.families.ltxv.miniature import weights

LOADERS = {
    "transformer": (weights.load_transformer, "3MB"),
    "vae": (weights.load_vae, "10MB"),
    "text_encoder": (weights.load_text_encoder, "300KB"),
}
PARTS = pytest.mark.parametrize("part", LOADERS)


@pytest.fixture(params=["one file", "shards"])
def folder(request, tmp_path, part):
    load, size = LOADERS[part]
    options = {"max_shard_size": size} if request.param == "shards" else {}
    load().save_pretrained(tmp_path, **options)
    require_part(tmp_path, part)
    return tmp_path


def largest(folder):
    return max(folder.glob("*.safetensors"), key=lambda path: path.stat().st_size)


@PARTS
def test_a_missing_file_is_named(folder, part):
    file = largest(folder)
    file.unlink()
    with pytest.raises(
        ModelError, match=rf"{file.name} of .* is missing|holds no weights; expected"
    ):
        require_part(folder, part)


@PARTS
@pytest.mark.parametrize("left", [0, 7, 5000, -1])
def test_a_file_that_is_cut_is_named(folder, part, left):
    file = largest(folder)
    file.write_bytes(file.read_bytes()[:left])
    with pytest.raises(ModelError, match=rf"{file.name}: is (damaged|no safetensors file)"):
        require_part(folder, part)


@PARTS
def test_a_tensor_that_is_missing_or_of_another_shape_is_named(folder, part):
    file = largest(folder)
    tensors = load_file(file)
    name = max(tensors, key=lambda key: tensors[key].numel())
    save_file({k: v for k, v in tensors.items() if k != name}, file, {"format": "pt"})
    with pytest.raises(ModelError, match=rf"asks for: no {name}"):
        require_part(folder, part)
    save_file(tensors | {name: torch.zeros(3, 3)}, file, {"format": "pt"})
    with pytest.raises(ModelError, match=rf"{name} has the shape \[3, 3\] instead of"):
        require_part(folder, part)


@PARTS
def test_a_quantized_part_is_named(folder, part):
    file = largest(folder)
    tensors = load_file(file)
    save_file(tensors | {"x.weight.absmax": torch.zeros(4)}, file, {"format": "pt"})
    with pytest.raises(ModelError, match=r"is quantized \(bitsandbytes\), which is not read"):
        require_part(folder, part)


def test_tied_embeddings_may_have_either_name(tmp_path):
    weights.load_text_encoder().save_pretrained(tmp_path)
    file = largest(tmp_path)
    tensors = load_file(file)
    tensors["encoder.embed_tokens.weight"] = tensors["shared.weight"].clone()
    save_file(tensors, file, {"format": "pt"})
    require_part(tmp_path, "text_encoder")
    assert json.loads((tmp_path / "config.json").read_text(encoding="utf-8"))["model_type"] == "t5"
