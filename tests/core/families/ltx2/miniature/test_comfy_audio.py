import pytest
import torch

from ltxv_train_core.families.ltx2.miniature.comfy_audio import audio_description, audio_tensors
from ltxv_train_core.families.ltx2.miniature.tone_bank import build_tone_bank
from ltxv_train_core.families.ltx2.miniature.weights import load_audio_vae


@pytest.fixture(scope="module")
def written():
    return audio_tensors()


def test_the_audio_vae_has_the_names_of_comfyui(written):
    own = load_audio_vae().state_dict()
    prefix = "audio_vae."
    named = {k.removeprefix(prefix): v for k, v in written.items() if k.startswith(prefix)}
    statistics = {
        "per_channel_statistics.mean-of-means": "latents_mean",
        "per_channel_statistics.std-of-means": "latents_std",
    }
    assert len(named) == len(own)
    for name, tensor in named.items():
        torch.testing.assert_close(tensor, own[statistics.get(name, name)], rtol=0, atol=0)
    assert named["per_channel_statistics.std-of-means"].shape == (128,)


def test_the_description_fits_the_tensors(written):
    described = audio_description()
    layers = described["audio_vae"]["model"]["params"]["ddconfig"]
    assert written["audio_vae.encoder.conv_in.conv.weight"].shape[0] == layers["ch"]
    assert written["audio_vae.decoder.conv_in.conv.weight"].shape[1] == layers["z_channels"]
    vocoder = described["vocoder"]
    hidden = vocoder["upsample_initial_channel"]
    assert written["vocoder.conv_pre.weight"].shape == (hidden, 128, 7)
    kernel = vocoder["upsample_kernel_sizes"][0]
    assert written["vocoder.ups.0.weight"].shape == (hidden, hidden // 2, kernel)
    assert written["vocoder.conv_post.weight"].shape == (2, hidden // 2, 7)
    dilations = vocoder["resblock_dilation_sizes"][0]
    residual = [name for name in written if name.startswith("vocoder.resblocks.")]
    assert len(residual) == 2 * len(dilations) * 2
    assert not any(written[name].any() for name in residual)


def test_the_tone_bank_is_written_as_it_is(written):
    bank = build_tone_bank()
    torch.testing.assert_close(written["vocoder.ups.0.weight"], bank.upsamplers[0].weight.detach())
    torch.testing.assert_close(written["vocoder.conv_post.bias"], bank.conv_out.bias.detach())
    torch.testing.assert_close(written["vocoder.conv_pre.weight"], bank.conv_in.weight.detach())
