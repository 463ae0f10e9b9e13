import random

import pytest
import torch

from ltxv_train_core.families.ltxv.miniature.clips import random_spec, render
from ltxv_train_core.families.ltxv.miniature.vae import COMPONENTS, VaeFactors, build_vae
from ltxv_train_core.families.ltxv.miniature.weights import load_vae, load_vae_factors
from ltxv_train_core.media.tensors import frames_to_tensor


def clip_batch(style="plain", count=4):
    rng = random.Random(0)
    return torch.cat(
        [frames_to_tensor(render(random_spec(rng), style).frames) for _ in range(count)]
    )


@torch.no_grad()
def round_trip(vae, frames):
    latents = vae.encode(frames.to(vae.dtype)).latent_dist.mode()
    return latents.float(), vae.decode(latents).sample.float()


def decibels(error):
    """Mean over clips."""
    return float((10 * torch.log10(4 / error.square().mean((1, 2, 3, 4)))).mean())


@pytest.mark.parametrize(("style", "least"), [("stripes", 22), ("silhouette", 18)])
def test_clips_of_the_other_styles_come_back(style, least):
    frames = clip_batch(style)
    latents, decoded = round_trip(load_vae(), frames)
    assert latents.shape == (4, 128, 3, 3, 3)
    assert decoded.shape == frames.shape
    assert decibels(decoded - frames) >= least


@pytest.mark.long
def test_plain_clips_come_back_with_23_decibels_also_in_bfloat16():
    frames = clip_batch(count=8)
    for dtype in (torch.float32, torch.bfloat16):
        vae = load_vae(dtype)
        assert decibels(round_trip(vae, frames)[1] - frames) >= 23


def test_a_wider_autoencoder_computes_the_same():
    frames = clip_batch(count=1)
    factors = load_vae_factors()
    latents, decoded = round_trip(build_vae(factors, 64), frames)
    wide_latents, wide_decoded = round_trip(build_vae(factors, 128), frames)
    torch.testing.assert_close(wide_latents, latents, atol=1e-4, rtol=0)
    torch.testing.assert_close(wide_decoded, decoded, atol=1e-4, rtol=0)


def test_the_encoder_is_almost_linear():
    a, b = clip_batch(count=2).chunk(2)
    vae = load_vae()
    (mixed, _), (latents_a, _), (latents_b, _) = (
        round_trip(vae, frames) for frames in (0.5 * (a + b), a, b)
    )
    assert (mixed - 0.5 * (latents_a + latents_b)).abs().max() < 0.05


def test_other_sizes_pass():
    frames = torch.zeros(1, 3, 9, 64, 128)
    latents, decoded = round_trip(load_vae(), frames)
    assert latents.shape == (1, 128, 2, 2, 4)
    assert decoded.shape == frames.shape


def test_latents_are_normalised_and_channels_without_use_stay_zero():
    vae = load_vae()
    latents, _ = round_trip(vae, clip_batch(count=8))
    normalised = (latents - vae.latents_mean.view(1, -1, 1, 1, 1)) / vae.latents_std.view(
        1, -1, 1, 1, 1
    )
    assert 0.5 < normalised[:, :COMPONENTS].std() < 1.5
    assert (normalised[:, COMPONENTS:] == 0).all()


def test_factors_pass_through_named_tensors():
    factors = load_vae_factors()
    again = VaeFactors.from_tensors(factors.tensors())
    assert all(torch.equal(t, again.tensors()[k]) for k, t in factors.tensors().items())
    for level in factors.levels:
        torch.testing.assert_close(
            level.basis.T @ level.basis, torch.eye(COMPONENTS), atol=1e-4, rtol=0
        )
