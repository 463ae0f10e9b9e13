"""Text encoders from files and folders, with the tokenizer that is found."""

import shutil
import sys

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import T5Config, T5EncoderModel

from ltxv_train_core.config import PreprocessSettings
from ltxv_train_core.datasets.index import read_index
from ltxv_train_core.errors import ModelError
from ltxv_train_core.families.ltxv.detect import read_contents
from ltxv_train_core.families.ltxv.miniature import weights
from ltxv_train_core.families.ltxv.miniature.datasets import generate
from ltxv_train_core.families.ltxv.opening import open_text_encoder, open_vae
from ltxv_train_core.families.open import open_model
from ltxv_train_core.models.memory.frozen_linear import EightBitLinear
from ltxv_train_core.models.sources import known_folders
from ltxv_train_core.preprocessing.preprocess import preprocess

PROMPT = "a red ring moves up on a teal background"
FP8 = torch.float8_e4m3fn


def embedding(encoder):
    return encoder.encode([PROMPT])[0]["prompt_embeds"].float()


@pytest.fixture(autouse=True)
def no_hub(monkeypatch, tmp_path):
    """Nothing here may ask the Hub."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(known_folders, "_known", [])


@pytest.fixture(scope="module")
def expected():
    return embedding(open_text_encoder("LTXV_MINIATURE").load(torch.float32))


def test_a_file_gives_the_embeddings_of_its_encoder(t5_file, expected):
    assert read_contents(t5_file).kind == "text encoder"
    encoder = open_text_encoder(str(t5_file))
    encoder.require()
    assert encoder.width == 128
    assert (embedding(encoder.load(torch.float32)) - expected).abs().max() < 0.01


@pytest.mark.skipif(sys.platform == "win32", reason="its file of 10 GB isn't sparse there")
@pytest.mark.parametrize("dtype", ["F16", "F8_E4M3"])
def test_t5_xxl_is_known_from_its_head(sparse_file, dtype):
    with torch.device("meta"):
        xxl = T5EncoderModel(
            T5Config(
                vocab_size=32128,
                d_model=4096,
                d_ff=10240,
                num_layers=24,
                num_heads=64,
                feed_forward_proj="gated-gelu",
            )
        ).state_dict()
    del xxl["encoder.embed_tokens.weight"]
    path = sparse_file(xxl, dtype)
    weights.load_tokenizer().save_pretrained(path.parent)
    encoder = open_text_encoder(str(path))
    encoder.require()
    assert encoder.width == 4096
    assert encoder.config["num_layers"] == 24


@pytest.mark.parametrize("scaled", [False, True])
def test_fp8_stays_fp8(t5_file, tmp_path, expected, scaled):
    tensors = {}
    for name, tensor in load_file(t5_file).items():
        if tensor.ndim < 2 or "relative" in name:
            tensors[name] = tensor
            continue
        scale = tensor.abs().max().float() / 448 if scaled and "shared" not in name else 1
        tensors[name] = (tensor.float() / scale).to(FP8)
        if scaled and "shared" not in name:
            tensors[name.removesuffix("weight") + "scale_weight"] = scale
            tensors[name.removesuffix("weight") + "scale_input"] = torch.ones(())
    if scaled:
        tensors["scaled_fp8"] = torch.zeros(2, dtype=FP8)
    path = tmp_path / "fp8.safetensors"
    save_file(tensors, path)
    weights.load_tokenizer().save_pretrained(tmp_path)
    encoder = open_text_encoder(str(path)).load(torch.bfloat16)
    layers = [n for n, m in encoder.encoder.named_modules() if isinstance(m, EightBitLinear)]
    assert len(layers) == 2 * 6
    assert not [name for name in layers if name.endswith(".wo")]
    for form in (encoder, encoder.in_eight_bits().to(torch.device("cpu"))):
        difference = (embedding(form) - expected).abs().mean() / expected.abs().mean()
        assert difference < 0.1
    assert len([m for m in encoder.encoder.modules() if isinstance(m, EightBitLinear)]) == 2 * 6


def test_the_tokenizer_is_found_in_a_comfyui_around_the_file(t5_file, tmp_path, expected):
    alone = tmp_path / "ComfyUI" / "models" / "text_encoders" / "t5.safetensors"
    alone.parent.mkdir(parents=True)
    shutil.copy(t5_file, alone)
    with pytest.raises(ModelError, match=r"HF_HUB_OFFLINE is set"):
        open_text_encoder(str(alone)).require()
    with pytest.raises(ModelError, match=r"has no tokenizer.*Put tokenizer\.json"):
        open_text_encoder(str(alone)).load(torch.float32)
    folder = tmp_path / "ComfyUI" / "comfy" / "text_encoders" / "t5_tokenizer"
    weights.load_tokenizer().save_pretrained(folder)
    encoder = open_text_encoder(str(alone))
    encoder.require()
    assert (embedding(encoder.load(torch.float32)) - expected).abs().max() < 0.01
    folder.rename(tmp_path / "elsewhere")
    known_folders.look_in(tmp_path / "elsewhere")
    encoder.require()


@pytest.mark.parametrize("layout", ["whole model", "encoder alone"])
def test_folders(layout, tmp_path, expected):
    folder = tmp_path / "model"
    where = folder / "text_encoder" if layout == "whole model" else folder
    weights.load_text_encoder().save_pretrained(where)
    beside = folder / "tokenizer" if layout == "whole model" else folder
    weights.load_tokenizer().save_pretrained(beside)
    encoder = open_text_encoder(str(folder))
    encoder.require()
    assert encoder.width == 128
    assert torch.equal(embedding(encoder.load(torch.float32)), expected)


@pytest.mark.parametrize("part", ["text_encoder", "vae"])
def test_a_folder_of_another_model_is_refused(part, tmp_path):
    """UMT5 of Wan has T5-XXL's sizes: what its folder lacks would be drawn at random."""
    wanted, other, write, find = {
        "text_encoder": ("t5", "umt5", weights.load_text_encoder, open_text_encoder),
        "vae": ("AutoencoderKLLTXVideo", "AutoencoderKLWan", weights.load_vae, open_vae),
    }[part]
    write().save_pretrained(tmp_path)
    weights.load_tokenizer().save_pretrained(tmp_path)
    found = find(str(tmp_path))
    config = tmp_path / "config.json"
    text = config.read_text(encoding="utf-8")
    config.write_text(text.replace(f'"{wanted}"', f'"{other}"'), encoding="utf-8")
    for attempt in (found.require, lambda: found.load(torch.float32)):
        with pytest.raises(ModelError, match=rf"\({wanted}\), found {other}"):
            attempt()
    config.write_text(text, encoding="utf-8")
    file = next(tmp_path.glob("*model.safetensors"))
    file.write_bytes(file.read_bytes()[:-8])
    for attempt in (found.require, lambda: found.load(torch.float32)):
        with pytest.raises(ModelError, match=rf"{file.name}: is damaged: .*Download"):
            attempt()


def test_a_checkpoint_with_its_text_encoder_inside(contents, write, t5_file, expected):
    tensors, metadata = contents
    inside = {f"text_encoders.t5xxl.transformer.{k}": v for k, v in load_file(t5_file).items()}
    path = write(tensors | inside, raw=metadata)
    weights.load_tokenizer().save_pretrained(path.parent)
    model = open_model(str(path))
    model.require("transformer")
    model.require("text_encoder")
    assert (embedding(model.load_text_encoder()) - expected).abs().max() < 0.01


def test_wrong_encoders_are_refused(tmp_path, checkpoint, t5_file):
    with pytest.raises(ModelError, match=r"text_encoder_source .*expected text encoder, found"):
        open_text_encoder(str(checkpoint))
    with pytest.raises(
        ModelError, match=r"text_encoder_source .*missing\.safetensors: no such file"
    ):
        open_text_encoder(str(tmp_path / "missing.safetensors"))
    config = T5Config(vocab_size=40, d_model=64, d_kv=8, d_ff=32, num_heads=2, num_layers=1)
    state = T5EncoderModel(config).state_dict()
    state.pop("encoder.embed_tokens.weight")
    save_file(state, tmp_path / "small.safetensors")
    small = str(tmp_path / "small.safetensors")
    for model in (str(checkpoint), "LTXV_MINIATURE"):
        with pytest.raises(ModelError, match=r"of 64 numbers, and .* reads 128"):
            open_model(model, small).require("text_encoder")
    tensors = load_file(t5_file)
    name = "encoder.block.1.layer.0.SelfAttention.relative_attention_bias.weight"
    save_file(tensors | {name: torch.zeros(32, 4)}, tmp_path / "umt5.safetensors")
    with pytest.raises(ModelError, match="UMT5"):
        open_text_encoder(str(tmp_path / "umt5.safetensors"))
    del tensors["encoder.block.1.layer.0.SelfAttention.q.weight"]
    save_file(tensors, tmp_path / "part.safetensors")
    with pytest.raises(ModelError, match=r"no encoder\.block\.1\.layer\.0\.SelfAttention\.q"):
        open_text_encoder(str(tmp_path / "part.safetensors")).require()


def test_preprocessing_takes_its_parts_from_files(checkpoint, t5_file, tmp_path, expected):
    dataset = generate("stripes", tmp_path / "data", clips=2)
    settings = {
        "source": dataset.metadata,
        "model_source": str(checkpoint),
        "resolution_buckets": "64x64x9",
    }
    with pytest.raises(ModelError, match="holds no text encoder; give one in text_encoder_source"):
        preprocess(PreprocessSettings(**settings))
    assert not list((tmp_path / "data" / ".precomputed").glob("latents/**/*.safetensors"))
    root = preprocess(PreprocessSettings(**settings, text_encoder_source=str(t5_file))).root
    miniature = preprocess(
        PreprocessSettings(
            **settings | {"model_source": "LTXV_MINIATURE", "output_dir": tmp_path / "other"}
        )
    ).root
    pairs = list(zip(*(read_index(each).items for each in (root, miniature)), strict=True))
    assert pairs
    for number, name, limit in ((0, "latents", 1e-4), (1, "prompt_embeds", 0.02)):
        for here, there in pairs:
            ours = load_file(root / here.files[number].path)[name]
            theirs = load_file(miniature / there.files[number].path)[name]
            assert (ours - theirs).abs().max() < limit
