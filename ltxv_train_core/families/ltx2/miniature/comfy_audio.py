"""The second miniature's audio VAE and tone bank as ComfyUI's audio VAE loader reads them from a file."""

from typing import Any

import torch
from diffusers.pipelines.ltx2.vocoder import LTX2Vocoder
from torch import Tensor

from ....media.mel_scale import BINS, WINDOW
from ..formats import HOP_SAMPLES, MEL_RATE
from .audio_vae import CONFIG
from .tone_bank import KERNEL, build_tone_bank
from .weights import load_audio_vae

_AUDIO_VAE, _VOCODER = "audio_vae.", "vocoder."
_LAYERS = {"conv_in": "conv_pre", "upsamplers.0": "ups.0", "conv_out": "conv_post"}
_DILATIONS = [1, 3, 5]


def audio_tensors() -> dict[str, Tensor]:
    """By ComfyUI's names, float32 (95 MB, most of it zeros)."""
    state = load_audio_vae().state_dict()
    statistics = f"{_AUDIO_VAE}per_channel_statistics."
    named = {_AUDIO_VAE + name: tensor for name, tensor in state.items() if "latents_" not in name}
    named[statistics + "mean-of-means"] = state["latents_mean"]
    named[statistics + "std-of-means"] = state["latents_std"]
    return named | _vocoder_tensors(build_tone_bank())


def audio_description() -> dict[str, dict[str, Any]]:
    """The parts `audio_vae` and `vocoder` of the metadata `config`."""
    layers = {
        "double_z": True,
        "mel_bins": BINS,
        "z_channels": CONFIG["latent_channels"],
        "resolution": 256,
        "downsample_time": False,
        "in_channels": 2,
        "out_ch": 2,
        "ch": CONFIG["base_channels"],
        "ch_mult": [1, 2, 4],
        "num_res_blocks": CONFIG["num_res_blocks"],
        "attn_resolutions": [],
        "dropout": 0.0,
        "mid_block_add_attention": False,
        "norm_type": "pixel",
        "causality_axis": "height",
    }
    return {
        "audio_vae": {
            "model": {"params": {"ddconfig": layers, "sampling_rate": MEL_RATE}},
            "preprocessing": {"stft": {"filter_length": WINDOW, "hop_length": HOP_SAMPLES}},
        },
        "vocoder": {
            "upsample_initial_channel": build_tone_bank().config.hidden_channels,
            "upsample_rates": [HOP_SAMPLES],
            "upsample_kernel_sizes": [KERNEL],
            "resblock_kernel_sizes": [3],
            "resblock_dilation_sizes": [_DILATIONS],
            "stereo": True,
            "resblock": "1",
        },
    }


def _vocoder_tensors(bank: LTX2Vocoder) -> dict[str, Tensor]:
    """Its residual blocks do nothing: ComfyUI's have three convolutions where the bank has one."""
    named = {
        f"{_VOCODER}{theirs}.{kind}": getattr(bank.get_submodule(own), kind).detach()
        for own, theirs in _LAYERS.items()
        for kind in ("weight", "bias")
    }
    width = bank.conv_out.weight.shape[1]
    for group in ("convs1", "convs2"):
        for number in range(len(_DILATIONS)):
            name = f"{_VOCODER}resblocks.0.{group}.{number}"
            named[f"{name}.weight"] = torch.zeros(width, width, 3)
            named[f"{name}.bias"] = torch.zeros(width)
    return named
