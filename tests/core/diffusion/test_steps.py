"""The sampler's steps in numbers: of a model whose velocity is the video times a number of the prompt."""

import threading
from itertools import pairwise
from math import prod
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ltxv_train_core.diffusion.sampler import (
    ConditioningLatents,
    SampleRequest,
    SamplerSettings,
    sample,
)
from ltxv_train_core.errors import Cancelled
from ltxv_train_core.families.ltxv.denoiser import LTXVideoDenoiser
from ltxv_train_core.families.ltxv.family import LTXV
from ltxv_train_core.families.names import PROMPT, VIDEO
from ltxv_train_core.geometry import VideoSize

LATENT = LTXV.grid.latent(VideoSize(64, 32, 17))
SHAPE = (128, *LATENT)
SHAPES = {VIDEO: LATENT}


class Growing(LTXVideoDenoiser):
    device, dtype = torch.device("cpu"), torch.float32

    def __init__(self):
        super().__init__(SimpleNamespace(transformer_blocks=()), True)
        self.calls = []

    def denoise(self, inputs, text):
        seen = inputs[VIDEO]
        self.calls.append(seen)
        return {VIDEO: seen.tokens * text.tensors[PROMPT][:, :1]}


def request(seed, rate=1.0, negative=0.0, **more):
    embeddings = [{PROMPT: torch.full((2, 1), value)} for value in (rate, negative)]
    return SampleRequest(*embeddings, seed, **more)


def noise(seed, appended=0):
    shape = (128, SHAPE[1] + appended, *SHAPE[2:])
    drawn = torch.randn(shape, generator=torch.Generator().manual_seed(seed))
    return drawn[:, : SHAPE[1]]


def growth(steps, rate):
    levels = Growing().sampling_levels(steps, {VIDEO: LATENT.tokens}).tolist()
    return prod(1 + (following - level) * rate for level, following in pairwise(levels))


@pytest.mark.parametrize("steps", [1, 2, 7])
def test_steps_follow_the_levels_from_the_noise_of_the_seed(steps):
    (video,) = sample(Growing(), [request(5, 0.3)], SamplerSettings(SHAPES, steps, 1.0))[VIDEO]
    assert torch.allclose(video, noise(5) * growth(steps, 0.3), atol=1e-5)


@pytest.mark.parametrize("guidance", [0.0, 2.5])
def test_guidance_weighs_prompt_and_negative(guidance):
    denoiser = Growing()
    chosen = SamplerSettings(SHAPES, 3, guidance)
    (video,) = sample(denoiser, [request(5, 0.3, 0.2)], chosen)[VIDEO]
    rate = 0.2 + guidance * (0.3 - 0.2)
    assert torch.allclose(video, noise(5) * growth(3, rate), atol=1e-5)
    shapes = {(len(each.tokens), len(each.levels), len(each.positions)) for each in denoiser.calls}
    assert shapes == {(2, 2, 2)}


def test_a_reference_takes_its_share_of_the_noise_and_none_of_the_steps():
    reference = torch.ones(128, 2, *SHAPE[2:])
    denoiser = Growing()
    (video,) = sample(
        denoiser, [request(5, 0.3, references={VIDEO: reference})], SamplerSettings(SHAPES, 2, 1.0)
    )[VIDEO]
    assert torch.allclose(video, noise(5, appended=2) * growth(2, 0.3), atol=1e-5)
    tokens = LATENT.tokens
    for seen in denoiser.calls:
        assert seen.tokens.shape[1] == tokens + 2 * LATENT.height * LATENT.width
        assert (seen.tokens[:, tokens:] == 1).all()


@pytest.mark.parametrize(("batch_size", "sizes"), [(1, [1, 1, 1]), (2, [2, 1]), (3, [3])])
def test_requests_go_in_batches_and_each_step_is_told(batch_size, sizes):
    told, denoiser = [], Growing()
    requests = [request(seed, 0.1 * seed) for seed in (1, 2, 3)]
    batched = SamplerSettings(SHAPES, 2, 1.0, batch_size=batch_size)
    videos = sample(denoiser, requests, batched, told.append)[VIDEO]
    for seed, video in zip((1, 2, 3), videos, strict=True):
        assert torch.allclose(video, noise(seed) * growth(2, 0.1 * seed), atol=1e-5)
    assert [len(seen.tokens) for seen in denoiser.calls] == [size for size in sizes for _ in "ab"]
    steps = 2 * len(sizes)
    assert [(e.phase, e.done, e.total, e.unit) for e in told] == [
        ("sample", number, steps, "step") for number in range(1, steps + 1)
    ]


def test_one_video_at_a_time_at_25_frames_a_second():
    denoiser = Growing()
    sample(denoiser, [request(1), request(2)], SamplerSettings(SHAPES, 1, 1.0))
    seconds = [seen.positions[0, 0].unique().tolist() for seen in denoiser.calls]
    assert seconds == [pytest.approx([0.0, 1 / 25, 9 / 25])] * 2


def test_a_stop_ends_it_before_the_next_step():
    stop, told = threading.Event(), []

    def report(event):
        told.append(event)
        stop.set()

    with pytest.raises(Cancelled):
        sample(Growing(), [request(1)], SamplerSettings(SHAPES, 5, 1.0), report, stop)
    assert len(told) == 1


def test_guided_batches_hold_all_prompts_and_then_all_negatives():
    """Each request keeps its own noise, rates and reference."""
    references = [torch.full((128, 1, *SHAPE[2:]), float(number)) for number in (1, 2)]
    requests = [
        request(1, 0.3, -0.2, references={VIDEO: references[0]}),
        request(2, 0.5, 0.1, references={VIDEO: references[1]}),
    ]
    denoiser = Growing()
    guided = SamplerSettings(SHAPES, 2, 3.0, batch_size=2)
    videos = sample(denoiser, requests, guided)[VIDEO]
    for seed, rate, video in zip((1, 2), (-0.2 + 3 * 0.5, 0.1 + 3 * 0.4), videos, strict=True):
        assert torch.allclose(video, noise(seed, appended=1) * growth(2, rate), atol=1e-4)
    for seen in denoiser.calls:
        assert seen.tokens[:, -1, 0].tolist() == [1, 2, 1, 2]
        assert (seen.levels[:, LATENT.tokens :] == 0).all()
        assert seen.positions.shape[0] == 4


@pytest.mark.parametrize("share", [0.0, 0.4, 1.0])
def test_guided_predictions_are_rescaled_to_the_spread_of_those_of_the_prompt(share):
    settings = SamplerSettings(SHAPES, 2, 3.0, guidance_rescale=share)
    (video,) = sample(Growing(), [request(5, 0.3, 0.2)], settings)[VIDEO]
    guided = 0.2 + 3 * (0.3 - 0.2)
    rate = (1 - share) * guided + share * 0.3
    assert torch.allclose(video, noise(5) * growth(2, rate), atol=1e-5)


def test_what_one_request_knows_is_none_of_the_others():
    known = ConditioningLatents.beginning(torch.full((128, 1, *SHAPE[2:]), 5.0), LATENT)
    requests = [request(1, 0.5), request(2, 0.5, given={VIDEO: known})]
    denoiser, first = Growing(), LATENT.height * LATENT.width
    guided = SamplerSettings(SHAPES, 3, 2.0, batch_size=2)
    plain, begun = sample(denoiser, requests, guided)[VIDEO]
    assert torch.allclose(plain, noise(1) * growth(3, 2 * 0.5), atol=1e-5)
    assert (begun[:, :1] == 5).all()
    assert torch.allclose(begun[:, 1:], (noise(2) * growth(3, 2 * 0.5))[:, 1:], atol=1e-5)
    levels = denoiser.sampling_levels(3, {VIDEO: LATENT.tokens}).tolist()
    for seen, level in zip(denoiser.calls, levels, strict=False):
        assert (seen.levels[[1, 3], :first] == 0).all()
        assert torch.allclose(seen.levels[[0, 2]], torch.tensor(level))
        assert torch.allclose(seen.levels[:, first:], torch.tensor(level))


@settings(max_examples=20, deadline=None, derandomize=True)
@given(frames=st.integers(1, 4), rows=st.integers(1, 3), known=st.integers(1, 4))
def test_the_beginning_of_a_stream_is_known_and_the_rest_is_not(frames, rows, known):
    known = min(known, frames)
    latents = torch.randn(3, known, rows)
    found = ConditioningLatents.beginning(latents, (frames, rows))
    assert torch.equal(found.latents[:, :known], latents)
    assert found.latents.shape == (3, frames, rows)
    assert (found.latents[:, known:] == 0).all()
    assert found.where.all(1).tolist() == [n < known for n in range(frames)]
    assert found.where.any(1).tolist() == [n < known for n in range(frames)]


def test_references_are_for_all_requests_or_for_none():
    reference = {VIDEO: torch.ones(128, 1, *SHAPE[2:])}
    both = [request(1, references=reference), request(2)]
    with pytest.raises(AssertionError, match="for all requests or for none"):
        sample(Growing(), both, SamplerSettings(SHAPES, 1, 1.0, batch_size=2))


def test_levels_that_are_given_are_followed_to_zero():
    chosen, told = SamplerSettings(SHAPES, 2, 1.0, levels=(0.8, 0.5)), []
    (video,) = sample(Growing(), [request(3, 0.4)], chosen, told.append)[VIDEO]
    wanted = noise(3) * (1 + (0.5 - 0.8) * 0.4) * (1 - 0.5 * 0.4)
    assert torch.allclose(video, wanted, atol=1e-5)
    assert [(e.done, e.total) for e in told] == [(1, 2), (2, 2)]


def test_positions_are_of_the_frame_rate():
    for rate in (10.0, 50.0):
        denoiser = Growing()
        sample(denoiser, [request(1)], SamplerSettings(SHAPES, 1, 3.0, fps=rate))
        seconds = denoiser.calls[0].positions[:, 0]
        assert seconds.shape[0] == 2
        assert seconds.max().item() == pytest.approx(9 / rate)


def test_nothing_is_sampled_with_gradients():
    (video,) = sample(Growing(), [request(1)], SamplerSettings(SHAPES, 1, 1.0))[VIDEO]
    assert (video.requires_grad, video.dtype, video.device.type) == (False, torch.float32, "cpu")
