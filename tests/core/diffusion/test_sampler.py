"""What the transformer sees while a video is sampled."""

import pytest
import torch

from ltxv_train_core.diffusion.sampler import (
    ConditioningLatents,
    SampleRequest,
    SamplerSettings,
    sample,
)
from ltxv_train_core.families.base import StreamInput
from ltxv_train_core.families.ltxv.denoiser import LTXVideoDenoiser
from ltxv_train_core.families.ltxv.family import LTXV
from ltxv_train_core.families.open import open_model
from ltxv_train_core.geometry import VideoSize
from tests.helpers.video import positions, to_tokens

SIZE = VideoSize(96, 64, 17)
LATENT = LTXV.grid.latent(SIZE)
FIRST = LATENT.height * LATENT.width
SHAPES = {"video": LATENT}
STEPS = 3


class Model:
    """The miniature, and what it was called with."""

    def __init__(self):
        source = open_model("LTXV_MINIATURE")
        self.transformer = source.load_transformer(torch.float32)
        encoder = source.load_text_encoder()
        self.prompt, self.empty, self.other = encoder.encode(
            ["a red ring moves up", "", "a blue square on a grey background"]
        )
        self.calls: list[StreamInput] = []
        self.timesteps: list[list[float]] = []
        self.transformer.time_embed.register_forward_pre_hook(
            lambda module, args: self.timesteps.append(args[0].tolist())
        )

    def denoiser(self, causal=True):
        denoiser = LTXVideoDenoiser(self.transformer, causal)
        denoise = denoiser.denoise

        def noted(inputs, text):
            self.calls.append(inputs["video"])
            return denoise(inputs, text)

        denoiser.denoise = noted
        return denoiser

    def sample(self, request, guidance=3.0, causal=True, fps=25.0):
        self.calls.clear()
        self.timesteps.clear()
        settings = SamplerSettings(SHAPES, STEPS, guidance, fps)
        return sample(self.denoiser(causal), [request], settings)["video"][0]


@pytest.fixture(scope="module")
def model():
    return Model()


def latents(frames, seed=0):
    shape = (128, frames, LATENT.height, LATENT.width)
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("reference", [None, latents(LATENT.frames, seed=1)])
def test_a_given_first_frame_stays_clean_at_timestep_0(model, reference):
    first = latents(1)
    given = ConditioningLatents.beginning(first, LATENT)
    references = {} if reference is None else {"video": reference}
    plain = model.sample(SampleRequest(model.prompt, model.empty, 7, references))
    video = model.sample(SampleRequest(model.prompt, model.empty, 7, references, {"video": given}))
    assert torch.equal(video[:, :1], first)
    assert (video[:, 1:] - plain[:, 1:]).abs().max() > 0.05
    assert len(model.calls) == STEPS
    for call in model.calls:
        for tokens, timesteps in zip(call.tokens, call.levels, strict=True):
            assert torch.equal(tokens[:FIRST], to_tokens(first[None])[0])
            assert (timesteps[:FIRST] == 0).all()
            assert (timesteps[FIRST : LATENT.tokens] > 0).all()
            assert (timesteps[LATENT.tokens :] == 0).all()


def test_any_part_can_be_given(model):
    where = torch.zeros(LATENT.frames, LATENT.height, LATENT.width, dtype=torch.bool)
    where[-1] = True
    where[:, 0, 0] = True
    known = latents(LATENT.frames)
    video = model.sample(
        SampleRequest(
            model.prompt, model.empty, 7, given={"video": ConditioningLatents(known, where)}
        )
    )
    assert torch.equal(video[:, where], known[:, where])
    assert not torch.isclose(video[:, ~where], known[:, ~where]).any()


def test_without_guidance_there_is_one_pass_and_no_negative_prompt(model):
    wanted = [SampleRequest(model.prompt, negative, 7) for negative in (model.empty, model.other)]
    guided = [model.sample(request) for request in wanted]
    assert [len(call.tokens) for call in model.calls] == [2] * STEPS
    alone = [model.sample(request, guidance=1.0) for request in wanted]
    assert [len(call.tokens) for call in model.calls] == [1] * STEPS
    assert (guided[0] - guided[1]).abs().max() > 0.05
    assert torch.equal(*alone)


def test_guidance_goes_on_from_the_negative_to_the_wanted(model):
    """One step, so that the three videos are linear in their velocities."""
    request = SampleRequest(model.prompt, model.other, 7)
    turned = SampleRequest(model.other, model.prompt, 7)

    def once(request, guidance):
        denoiser = LTXVideoDenoiser(model.transformer, True)
        return sample(denoiser, [request], SamplerSettings(SHAPES, 1, guidance))["video"][0]

    wanted, negative = once(request, 1.0), once(turned, 1.0)
    assert torch.allclose(once(request, 4.0), negative + 4 * (wanted - negative), atol=1e-4)


@pytest.mark.parametrize("causal", [True, False])
def test_positions_are_in_seconds_of_the_frame_rate(model, causal):
    model.sample(SampleRequest(model.prompt, model.empty, 7), causal=causal, fps=12.0)
    expected = positions(LATENT, torch.tensor([12.0, 12.0]), causal)
    assert all(torch.equal(call.positions, expected) for call in model.calls)


def test_the_model_is_called_with_a_thousand_timesteps_to_a_level(model):
    model.sample(SampleRequest(model.prompt, model.empty, 7))
    levels = LTXVideoDenoiser(model.transformer, True).sampling_levels(
        STEPS, {"video": LATENT.tokens}
    )
    expected = [[pytest.approx(1000 * level)] * 2 for level in levels[:-1].tolist()]
    assert model.timesteps == expected
    assert model.timesteps[0] == [1000, 1000]


def test_a_distilled_model_is_sampled_at_its_own_levels(model):
    levels = (1.0, 0.9, 0.4)
    settings = SamplerSettings(SHAPES, 3, 1.0, levels=levels)
    model.timesteps.clear()
    sample(model.denoiser(), [SampleRequest(model.prompt, model.empty, 7)], settings)
    assert model.timesteps == [[pytest.approx(each)] for each in (1000.0, 900.0, 400.0)]
