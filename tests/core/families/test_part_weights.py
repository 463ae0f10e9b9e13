"""Folders of a model that are incomplete are found before anything is loaded."""

import json

import pytest
import torch
from diffusers import LTXVideoTransformer3DModel
from safetensors.torch import load_file, save_file

from ltxv_train_core.errors import ModelError
from ltxv_train_core.families.ltxv.diffusers_folder import (
    EncoderFolder,
    LocalFolder,
    require_part,
)
from ltxv_train_core.families.ltxv.miniature import weights
from ltxv_train_core.families.ltxv.miniature_model import MiniatureEncoder

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


@pytest.mark.parametrize(
    "options", [{"attention_out_bias": False}, {"norm_elementwise_affine": True}]
)
def test_a_transformer_with_unusual_options_is_compared_with_diffusers_own(tmp_path, options):
    sizes = {"num_attention_heads": 2, "attention_head_dim": 8, "num_layers": 1}
    made = LTXVideoTransformer3DModel(
        **sizes, cross_attention_dim=16, caption_channels=8, **options
    )
    made.save_pretrained(tmp_path)
    require_part(tmp_path, "transformer")
    config = json.loads((tmp_path / "config.json").read_text(encoding="utf-8"))
    (tmp_path / "config.json").write_text(json.dumps(config | {"num_layers": 2}), encoding="utf-8")
    with pytest.raises(ModelError, match=r"no transformer_blocks\.1"):
        require_part(tmp_path, "transformer")


def test_tied_embeddings_may_have_either_name(tmp_path):
    weights.load_text_encoder().save_pretrained(tmp_path)
    file = largest(tmp_path)
    tensors = load_file(file)
    tensors["encoder.embed_tokens.weight"] = tensors["shared.weight"].clone()
    save_file(tensors, file, {"format": "pt"})
    require_part(tmp_path, "text_encoder")
    assert json.loads((tmp_path / "config.json").read_text(encoding="utf-8"))["model_type"] == "t5"


PICKLED = {
    "transformer": "diffusion_pytorch_model.bin",
    "vae": "diffusion_pytorch_model.bin",
    "text_encoder": "pytorch_model.bin",
}


def pickle_weights(folder, part, as_shards=False):
    """Weights as older programs wrote them. Returns the largest file."""
    load, _ = LOADERS[part]
    load().save_pretrained(folder)
    file = largest(folder)
    tensors, name = load_file(file), PICKLED[part]
    file.unlink()
    if not as_shards:
        torch.save(tensors, folder / name)
        return folder / name
    stem, keys = name.removesuffix(".bin"), sorted(tensors)
    names = [f"{stem}-{number:05d}-of-00002.bin" for number in (1, 2)]
    for number, own in enumerate(names):
        torch.save({key: tensors[key] for key in keys[number::2]}, folder / own)
    weight_map = {key: names[place % 2] for place, key in enumerate(keys)}
    index = {"metadata": {}, "weight_map": weight_map}
    (folder / f"{name}.index.json").write_text(json.dumps(index), encoding="utf-8")
    return folder / names[0]


@PARTS
@pytest.mark.parametrize("as_shards", [False, True])
def test_pickled_weights_are_compared_likewise(tmp_path, part, as_shards):
    file = pickle_weights(tmp_path, part, as_shards)
    require_part(tmp_path, part)
    tensors = torch.load(file, weights_only=True)
    name = max(tensors, key=lambda key: tensors[key].numel())
    torch.save(tensors | {name: torch.zeros(3, 3)}, file)
    with pytest.raises(ModelError, match=rf"{name} has the shape \[3, 3\] instead of"):
        require_part(tmp_path, part)
    del tensors[name]
    torch.save(tensors, file)
    with pytest.raises(ModelError, match=rf"asks for: no {name}"):
        require_part(tmp_path, part)


class Harm:
    def __reduce__(self):
        return print, ("code of the file runs",)


@PARTS
@pytest.mark.parametrize("damage", ["cut", "code", "old", "large"])
def test_pickled_weights_that_cannot_be_read_safely_are_named(tmp_path, capsys, part, damage):
    file = pickle_weights(tmp_path, part)
    tensors = torch.load(file, weights_only=True)
    if damage == "cut":
        file.write_bytes(file.read_bytes()[:-200])
    elif damage == "code":
        torch.save(tensors | {"x": Harm()}, file)
    elif damage == "old":
        torch.save(tensors, file, _use_new_zipfile_serialization=False)
    else:
        torch.save(tensors | {min(tensors): torch.zeros(1).expand(2**40)}, file)
    with pytest.raises(
        ModelError, match=rf"{file.name}: can't be read safely .* with .*safetensors"
    ):
        require_part(tmp_path, part)
    assert "code of the file" not in capsys.readouterr().out


def test_a_text_encoder_of_pickled_weights_is_the_same(tmp_path):
    pickle_weights(tmp_path, "text_encoder")
    weights.load_tokenizer().save_pretrained(tmp_path)
    encoder = EncoderFolder(LocalFolder(tmp_path)).load(torch.float32)
    own = MiniatureEncoder().load(torch.float32)
    (given,), (wanted,) = encoder.encode(["a red square"]), own.encode(["a red square"])
    assert torch.equal(given["prompt_embeds"], wanted["prompt_embeds"])
