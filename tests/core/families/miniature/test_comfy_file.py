import json
import re

import pytest
import torch
from safetensors import safe_open

from ltxv_train_core.families.ltxv.miniature.comfy_file import export
from ltxv_train_core.families.ltxv.miniature.vae import build_vae
from ltxv_train_core.families.ltxv.miniature.weights import (
    load_transformer,
    load_vae,
    load_vae_factors,
)

TRANSFORMER, VAE = "model.diffusion_model.", "vae."


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    path = export(tmp_path_factory.mktemp("export") / "checkpoints" / "miniature.safetensors")
    with safe_open(path, "pt") as file:
        return {k: file.get_tensor(k) for k in file.keys()}, file.metadata()  # noqa: SIM118


def part(tensors, prefix):
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}


def test_the_metadata_describe_the_model(exported):
    config = json.loads(exported[1]["config"])
    expected = {
        "in_channels": 128,
        "num_layers": 4,
        "num_attention_heads": 4,
        "attention_head_dim": 64,
        "cross_attention_dim": 256,
        "caption_channels": 128,
        "causal_temporal_positioning": True,
    }
    assert config["transformer"].items() >= expected.items()
    kinds = ["compress_all", "compress_all", "compress_all", "res_x"]
    for part in ("encoder_blocks", "decoder_blocks"):
        assert [kind for kind, _ in config["vae"][part]] == kinds
    assert config["vae"]["spatial_padding_mode"] == "zeros"


def test_the_transformer_has_the_names_of_comfyui(exported):
    written = part(exported[0], TRANSFORMER)
    own = load_transformer().state_dict()
    assert len(written) == len(own)
    assert not [k for k in written if re.search(r"proj_in|time_embed|norm_[qk]", k)]
    pairs = {
        "patchify_proj.weight": "proj_in.weight",
        "adaln_single.linear.bias": "time_embed.linear.bias",
        "transformer_blocks.3.attn2.q_norm.weight": "transformer_blocks.3.attn2.norm_q.weight",
        "transformer_blocks.0.ff.net.0.proj.weight": "transformer_blocks.0.ff.net.0.proj.weight",
        "scale_shift_table": "scale_shift_table",
    }
    for name, own_name in pairs.items():
        torch.testing.assert_close(written[name], own[own_name], rtol=0, atol=0)


def test_the_vae_has_the_names_and_shapes_of_comfyui(exported):
    written = part(exported[0], VAE)
    shapes = {
        "encoder.conv_in.conv.weight": (128, 48, 3, 3, 3),
        "encoder.down_blocks.2.conv.weight": (128, 128, 3, 3, 3),
        "encoder.down_blocks.3.res_blocks.0.conv1.conv.weight": (128, 128, 3, 3, 3),
        "encoder.conv_out.conv.weight": (129, 128, 3, 3, 3),
        "decoder.conv_in.conv.weight": (128, 128, 3, 3, 3),
        "decoder.up_blocks.0.res_blocks.0.conv2.conv.bias": (128,),
        "decoder.up_blocks.3.conv.conv.weight": (1024, 128, 3, 3, 3),
        "decoder.conv_out.conv.weight": (48, 128, 3, 3, 3),
        "per_channel_statistics.mean-of-means": (128,),
        "per_channel_statistics.std-of-means": (128,),
    }
    assert {name: tuple(written[name].shape) for name in shapes} == shapes
    assert not [k for k in written if re.search(r"samplers|resnets|mid_block|latents", k)]


@torch.no_grad()
def test_the_exported_vae_computes_what_the_shipped_one_does(exported):
    written = part(exported[0], VAE)
    names = {
        "encoder.down_blocks.3.": "encoder.mid_block.",
        "decoder.up_blocks.0.": "decoder.mid_block.",
        ".res_blocks.": ".resnets.",
    }
    state = {}
    for name, tensor in written.items():
        for comfy_name, diffusers_name in names.items():
            name = name.replace(comfy_name, diffusers_name)
        name = re.sub(r"(down_blocks\.\d)\.conv", r"\1.downsamplers.0.conv", name)
        name = re.sub(r"(up_blocks\.\d)\.conv", r"\1.upsamplers.0.conv", name)
        state[name] = tensor
    statistics = part(state, "per_channel_statistics.")
    state = {k: v for k, v in state.items() if not k.startswith("per_channel")}
    wide = build_vae(load_vae_factors(), 128)
    for parameter in wide.parameters():
        parameter.fill_(float("nan"))
    missing, unexpected = wide.load_state_dict(state, strict=False)
    assert set(missing) == {"latents_mean", "latents_std"}
    assert not unexpected
    shipped = load_vae()
    torch.testing.assert_close(statistics["mean-of-means"], shipped.latents_mean)
    torch.testing.assert_close(statistics["std-of-means"], shipped.latents_std)
    frames = torch.rand(1, 3, 9, 64, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1
    latents = shipped.encode(frames).latent_dist.mode()
    torch.testing.assert_close(wide.encode(frames).latent_dist.mode(), latents, atol=1e-4, rtol=0)
    torch.testing.assert_close(
        wide.decode(latents).sample, shipped.decode(latents).sample, atol=1e-4, rtol=0
    )
