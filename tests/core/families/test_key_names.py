"""Our names against those that diffusers' own converter expects, for every public version."""

import json

import pytest
import torch
from diffusers import AutoencoderKLLTXVideo, LTXVideoTransformer3DModel
from diffusers.loaders.single_file_utils import (
    convert_ltx_transformer_checkpoint_to_diffusers,
    convert_ltx_vae_checkpoint_to_diffusers,
)

from ltxv_train_core.errors import ModelError
from ltxv_train_core.families.ltxv.checkpoint_export import (
    config_metadata,
    transformer_tensors,
    vae_tensors,
)
from ltxv_train_core.families.ltxv.layers import LAYERS
from ltxv_train_core.families.ltxv.miniature.vae import build_vae
from ltxv_train_core.families.ltxv.miniature.weights import load_vae_factors
from ltxv_train_core.families.ltxv.vae_blocks import diffusers_vae_config
from ltxv_train_core.families.ltxv.versions import (
    TRANSFORMER_2B,
    TRANSFORMER_13B,
    VAE_090,
    VAE_091,
    VAE_095,
)
from ltxv_train_core.families.video_vaes import family_of_vae

VAES = {"0.9.0": VAE_090, "0.9.1": VAE_091, "0.9.5": VAE_095}


def meta(kind, config):
    with torch.device("meta"):
        return kind(**config).state_dict()


def test_a_vae_tells_its_family_by_its_names():
    for config in VAES.values():
        names = vae_tensors(meta(AutoencoderKLLTXVideo, config), config, "")
        assert family_of_vae(names) == "LTX-Video"
    without_timesteps = {
        name
        for name in vae_tensors(meta(AutoencoderKLLTXVideo, VAE_095), VAE_095, "")
        if "time" not in name
    }
    assert family_of_vae(without_timesteps) == "LTX-2"
    assert family_of_vae({"decoder.conv_in_x_t.weight"}) == "LTX-2"
    factors = build_vae(load_vae_factors())
    assert family_of_vae(vae_tensors(factors.state_dict(), factors.config, "")) is None


@pytest.mark.parametrize("config", [TRANSFORMER_2B, TRANSFORMER_13B], ids=["2B", "13B"])
def test_transformer_names(config):
    state = meta(LTXVideoTransformer3DModel, config)
    written = transformer_tensors(state)
    assert "model.diffusion_model.adaln_single.emb.timestep_embedder.linear_1.bias" in written
    assert convert_ltx_transformer_checkpoint_to_diffusers(dict(written)).keys() == state.keys()
    assert all(LAYERS.diffusers_name(LAYERS.comfy_name(name)) == name for name in state)


@pytest.mark.parametrize("version", VAES)
def test_vae_names(version):
    state = meta(AutoencoderKLLTXVideo, VAES[version])
    written = vae_tensors(state, VAES[version])
    assert len(written) == len(state)
    converted = convert_ltx_vae_checkpoint_to_diffusers(dict(written))
    assert converted.keys() == state.keys()
    assert {n: converted[n].shape for n in state} == {n: state[n].shape for n in state}


@pytest.mark.parametrize("version", VAES)
def test_the_metadata_build_the_same_vae(version):
    config = json.loads(config_metadata(TRANSFORMER_2B, True, VAES[version])["config"])["vae"]
    read = diffusers_vae_config(config)
    assert read == {name: read[name] for name in read} | VAES[version]


def test_the_first_version_may_name_its_blocks_once():
    """As its configuration in Lightricks' repository does."""
    resnets, smaller, wider = (lambda n: ["res_x", n]), ["compress_all", 1], ["res_x_y", 1]
    blocks = [resnets(4), smaller, wider, resnets(3), smaller, wider, resnets(3), smaller]
    blocks += [resnets(3), resnets(4)]
    read = diffusers_vae_config({"latent_channels": 128, "patch_size": 4, "blocks": blocks})
    assert read == VAE_090


def test_the_miniature_is_described_too():
    vae = build_vae(load_vae_factors(), 128)
    config = json.loads(config_metadata({}, True, vae.config)["config"])["vae"]
    described = meta(AutoencoderKLLTXVideo, diffusers_vae_config(config))
    names = vae_tensors(described, diffusers_vae_config(config)).keys()
    assert names == vae_tensors(vae.state_dict(), vae.config).keys()


def test_an_unknown_block_is_named():
    config = {"latent_channels": 128, "blocks": [["attn_res_x", 2], ["res_x", 1]]}
    with pytest.raises(ModelError, match="attn_res_x"):
        diffusers_vae_config(config)
