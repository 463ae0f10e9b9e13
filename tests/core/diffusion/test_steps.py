"""The sampler's steps in numbers: of a model whose velocity is the video times a number of the prompt."""

import threading
from itertools import pairwise
from math import prod

import pytest
import torch

from ltxv_train_core.diffusion.sampler import SampleRequest, SamplerSettings, sample
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
        super().__init__(None, True)
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
    (video,) = sample(Growing(), [request(5, 0.3, 0.2)], SamplerSettings(SHAPES, 3, guidance))[
        VIDEO
    ]
    rate = 0.2 + guidance * (0.3 - 0.2)
    assert torch.allclose(video, noise(5) * growth(3, rate), atol=1e-5)


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
    settings = SamplerSettings(SHAPES, 2, 1.0, batch_size=batch_size)
    videos = sample(denoiser, requests, settings, told.append)[VIDEO]
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
