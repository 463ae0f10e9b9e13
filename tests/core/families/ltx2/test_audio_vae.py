import pytest
import torch

from ltxv_train_core.families.ltx2.audio_vae import (
    LTX2AudioVae,
    mel_count,
    with_audio_statistics,
)
from ltxv_train_core.families.ltx2.formats import latent_count
from ltxv_train_core.families.ltx2.griffin_lim import GriffinLim
from ltxv_train_core.families.ltx2.mel import log_mel


@pytest.fixture(scope="module")
def vae():
    from diffusers import AutoencoderKLLTX2Audio

    torch.manual_seed(0)
    small = AutoencoderKLLTX2Audio(base_channels=16, num_res_blocks=1)
    return with_audio_statistics(small)


def wrapped(vae):
    return LTX2AudioVae(vae, GriffinLim(), GriffinLim.sample_rate)


@pytest.mark.parametrize(
    ("seconds", "latents"), [(17 / 12, 35), (97 / 25, 97), (121 / 24, 126), (0.01, 1)]
)
def test_there_are_25_latents_a_second(vae, seconds, latents):
    samples = round(seconds * 16000)
    assert latent_count(samples) == latents
    found = wrapped(vae).encode(torch.zeros(1, 2, samples))
    assert found.shape == (1, 8, latents, 16)
    assert wrapped(vae).decode_mel(found).shape == (1, 2, mel_count(latents), 64)


def test_latents_are_normalised_by_a_number_for_each_channel_and_bin(vae):
    sound = torch.randn(2, 2, 16000, generator=torch.Generator().manual_seed(0)) * 0.1
    plain = wrapped(vae).encode(sound)
    vae.latents_mean.copy_(torch.arange(128) / 128)
    vae.latents_std.copy_(1 + torch.arange(128) / 64)
    normalised = wrapped(vae).encode(sound)
    for channel, bin_ in ((0, 0), (0, 15), (3, 7), (7, 15)):
        number = 16 * channel + bin_
        expected = (plain[:, channel, :, bin_] - number / 128) / (1 + number / 64)
        torch.testing.assert_close(normalised[:, channel, :, bin_], expected)
    vae.latents_mean.zero_()
    vae.latents_std.fill_(1)


def test_decoding_undoes_the_normalisation(vae):
    latents = torch.randn(1, 8, 5, 16, generator=torch.Generator().manual_seed(1))
    plain = wrapped(vae).decode_mel(latents * 3 + 0.5)
    vae.latents_mean.fill_(0.5)
    vae.latents_std.fill_(3)
    torch.testing.assert_close(wrapped(vae).decode_mel(latents), plain)
    vae.latents_mean.zero_()
    vae.latents_std.fill_(1)


def test_what_is_decoded_has_the_vocoders_rate_and_stays_within_bounds(vae):
    class Loud(torch.nn.Module):
        def forward(self, mel):
            return mel.new_full((len(mel), 2, mel.shape[2] * 480), 3.0)

    audio_vae = LTX2AudioVae(vae, Loud(), 48000).to(torch.device("cpu"))
    sound = audio_vae.decode(torch.zeros(1, 8, 4, 16))
    assert audio_vae.sample_rate == 48000
    assert sound.shape == (1, 2, 13 * 480)
    assert (sound == 1).all()


@pytest.mark.parametrize(
    ("name", "options", "rate"),
    [
        ("LTX2Vocoder", {"hidden_channels": 32}, 24000),
        ("LTX2VocoderWithBWE", {"hidden_channels": 64, "bwe_hidden_channels": 32}, 48000),
    ],
)
def test_published_vocoders_give_stereo_sound(vae, name, options, rate):
    from diffusers.pipelines.ltx2 import vocoder

    torch.manual_seed(0)
    built = getattr(vocoder, name)(**options)
    audio_vae = LTX2AudioVae(vae, built.to(torch.bfloat16), built.config.output_sampling_rate)
    sound = audio_vae.decode(torch.zeros(1, 8, 4, 16))
    assert audio_vae.sample_rate == rate
    assert sound.shape == (1, 2, 13 * rate // 100)
    assert sound.dtype == torch.float32
    assert torch.isfinite(sound).all()


def test_sound_that_is_shorter_than_a_latent_is_followed_by_silence(vae):
    short = torch.full((1, 2, 100), 0.1)
    long = torch.nn.functional.pad(short, (0, 540))
    torch.testing.assert_close(wrapped(vae).encode(short), wrapped(vae).encode(long))
    assert log_mel(long).shape[2] >= 1
