"""The same files in ComfyUI and here: names, shapes, and what the loaded models compute."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from diffusers import AutoencoderKLLTXVideo, LTXVideoTransformer3DModel
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from transformers import T5Config, T5EncoderModel

from ltxv_train_core.families.ltxv.checkpoint_export import transformer_tensors, vae_tensors
from ltxv_train_core.families.ltxv.key_names import VAE_STATISTICS_UNUSED
from ltxv_train_core.families.ltxv.miniature import weights
from ltxv_train_core.families.ltxv.miniature.comfy_file import export
from ltxv_train_core.families.ltxv.opening import open_text_encoder
from ltxv_train_core.families.ltxv.tokenizer import load_tokenizer
from ltxv_train_core.families.ltxv.vae_blocks import diffusers_vae_config
from ltxv_train_core.families.ltxv.versions import (
    TRANSFORMER_2B,
    TRANSFORMER_13B,
    VAE_090,
    VAE_091,
    VAE_095,
)
from ltxv_train_core.families.open import open_model
from tests.helpers.video import latent_size, positions, to_latents, to_tokens

pytestmark = [
    pytest.mark.comfyui,
    pytest.mark.skipif("COMFYUI_PATH" not in os.environ, reason="COMFYUI_PATH is not set"),
]
SCRIPT = Path(__file__).parents[1] / "comfyui" / "load_files.py"


def in_comfyui(*arguments: str) -> None:
    python = os.environ.get("COMFYUI_PYTHON", sys.executable)
    command = [python, str(SCRIPT), os.environ["COMFYUI_PATH"], *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]


def shapes(module: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: list(tensor.shape) for name, tensor in module.state_dict().items()}


def test_names_and_shapes_are_comfyuis(tmp_path: Path) -> None:
    """Of every public transformer, VAE and T5-XXL, by ComfyUI's own classes."""
    in_comfyui("names", str(tmp_path / "names.json"))
    theirs = json.loads((tmp_path / "names.json").read_text(encoding="utf-8"))
    ours: dict[str, dict] = {}
    with torch.device("meta"):
        for size, config in (("2B", TRANSFORMER_2B), ("13B", TRANSFORMER_13B)):
            ours[size] = transformer_tensors(shapes(LTXVideoTransformer3DModel(**config)), "")
        for version, config in (("0.9.0", VAE_090), ("0.9.1", VAE_091), ("0.9.5", VAE_095)):
            ours[version] = vae_tensors(shapes(AutoencoderKLLTXVideo(**config)), config, "")
        config = T5Config(
            vocab_size=32128, d_model=4096, d_kv=64, d_ff=10240, num_layers=24, num_heads=64,
            feed_forward_proj="gated-gelu",
        )  # fmt: skip
        ours["T5"] = shapes(T5EncoderModel(config))
    del ours["T5"]["encoder.embed_tokens.weight"]
    for version, config in (("0.9.0", VAE_090), ("0.9.1", VAE_091), ("0.9.5", VAE_095)):
        assert diffusers_vae_config(theirs[f"config {version}"]) == config
    for name, tensors in ours.items():
        # What its classes of some versions list and nothing reads.
        unread = set(theirs[name]) - set(tensors)
        assert unread <= set(VAE_STATISTICS_UNUSED)
        assert tensors == {k: v for k, v in theirs[name].items() if k not in unread}, name


@pytest.mark.parametrize("form", ["metadata", "no spatial padding", "fp8"])
def test_the_same_file_computes_the_same(form: str, tmp_path: Path) -> None:
    checkpoint = export(tmp_path / "model.safetensors")
    with safe_open(checkpoint, "pt") as file:
        metadata = file.metadata()
    tensors = load_file(checkpoint)
    if form == "no spatial padding":
        config = json.loads(metadata["config"])
        del config["vae"]["spatial_padding_mode"]
        config["transformer"]["causal_temporal_positioning"] = False
        metadata["config"] = json.dumps(config)
    if form == "fp8":
        for name, tensor in tensors.items():
            if ".transformer_blocks." in name and name.endswith(".weight") and tensor.ndim == 2:
                tensors[name] = tensor.to(torch.float8_e4m3fn)
    save_file(tensors, checkpoint, metadata)
    draw = torch.Generator().manual_seed(0)
    inputs = {
        "latents": torch.randn(2, 128, 3, 3, 3, generator=draw),
        "sigma": torch.tensor([0.3, 0.9]),
        "context": torch.randn(2, 12, 128, generator=draw),
        "mask": torch.tensor([[1] * 12, [1] * 7 + [0] * 5]),
        "frames": torch.rand(17, 96, 96, 3, generator=draw),
    }
    save_file(inputs, tmp_path / "inputs.safetensors")
    in_comfyui(
        "compute", *(str(tmp_path / n) for n in ("model.safetensors", "inputs.safetensors", "out"))
    )
    theirs = load_file(tmp_path / "out")
    ours = computed(str(checkpoint), inputs)
    assert ours["checkpoint"].std() > 0.1
    ours["diffusion model"] = ours["checkpoint"]
    for name, tensor in theirs.items():
        limit = 1e-4 if name in ("encoded", "decoded") else 1e-5
        assert (tensor - ours[name]).abs().max() < limit, name
    assert {"checkpoint", "encoded", "decoded"} <= theirs.keys()


@torch.no_grad()
def computed(checkpoint: str, inputs: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    model = open_model(checkpoint)
    size = latent_size(inputs["latents"])
    prediction = model.load_transformer(torch.float32)(
        hidden_states=to_tokens(inputs["latents"]),
        encoder_hidden_states=inputs["context"],
        timestep=inputs["sigma"][:, None].expand(-1, size.tokens) * 1000,
        encoder_attention_mask=inputs["mask"],
        video_coords=positions(size, torch.full((2,), 25.0), model.transformer.causal_positions),
        return_dict=False,
    )[0]
    codec = model.load_vae()
    frames = inputs["frames"].permute(3, 0, 1, 2)[None] * 2 - 1
    decoded = codec.decode(inputs["latents"][:1]).permute(0, 2, 3, 4, 1)
    return {
        "checkpoint": to_latents(prediction, size),
        "encoded": codec.encode(frames),
        "decoded": (decoded + 1) / 2,
    }


def test_the_same_text_encoder_file_gives_the_same_embeddings(tmp_path: Path) -> None:
    state = weights.load_text_encoder().state_dict()
    del state["encoder.embed_tokens.weight"]
    save_file(state, tmp_path / "t5.safetensors")
    weights.load_tokenizer().save_pretrained(tmp_path)
    prompts = ["a red ring moves up on a teal background", "a circle"]
    encoder = open_text_encoder(str(tmp_path / "t5.safetensors")).load(torch.float32)
    tokens = encoder.tokenizer(prompts, padding="max_length", max_length=128, return_tensors="pt")
    inputs = {"tokens": tokens.input_ids, "mask": tokens.attention_mask}
    save_file(inputs, tmp_path / "in")
    in_comfyui("encode", *(str(tmp_path / name) for name in ("t5.safetensors", "in", "out")))
    theirs = load_file(tmp_path / "out")["embeddings"]
    for embedding, row in zip(encoder.encode(prompts), theirs, strict=True):
        ours = embedding["prompt_embeds"]
        assert ours.std() > 0.1
        assert (ours - row[: len(ours)]).abs().max() < 1e-4


def test_the_tokenizer_of_comfyui_is_the_right_one() -> None:
    folder = Path(os.environ["COMFYUI_PATH"], "comfy", "text_encoders", "t5_tokenizer")
    tokens = load_tokenizer(folder)(["A red ring, moving up.", ""], padding=True)
    assert tokens.input_ids == [[71, 1131, 3, 1007, 6, 1735, 95, 5, 1], [1] + [0] * 8]
    assert tokens.attention_mask == [[1] * 9, [1] + [0] * 8]
