import math
from statistics import NormalDist
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ltxv_train_core.config import FlowMatchingConfig, build
from ltxv_train_core.diffusion.timesteps import draw_noise_levels
from ltxv_train_core.errors import ConfigurationError
from ltxv_train_core.families.ltx2.streams import AudioStream
from ltxv_train_core.families.ltxv.denoiser import LTXVideoDenoiser
from ltxv_train_core.families.ltxv.video_stream import VideoStream
from tests.helpers.draws import OneGenerator

VIDEO = VideoStream(causal=True)
token_shift = VIDEO.shift
sampling_levels = LTXVideoDenoiser(SimpleNamespace(transformer_blocks=()), True).sampling_levels


def draw(tokens=1024, count=20_000, mode="shifted_logit_normal", **params):
    config = FlowMatchingConfig(timestep_sampling_mode=mode, timestep_sampling_params=params)
    return draw_noise_levels(config, tokens, VIDEO, OneGenerator(0, count))


def logit(levels):
    return torch.log(levels / (1 - levels))


def test_shift_of_the_tokens():
    assert token_shift(1024) == pytest.approx(0.95)
    assert token_shift(4096) == pytest.approx(2.05)


@pytest.mark.parametrize(
    ("tokens", "params", "median", "spread"),
    [
        (1024, {}, 0.95, 1.0),
        (4096, {}, 2.05, 1.0),
        (9216, {}, 2.05, 1.0),
        (9216, {"shift_limit": 100}, token_shift(9216), 1.0),
        (1024, {"shift": 0.0, "std": 2.0}, 0.0, 2.0),
    ],
)
def test_shifted_logit_normal(tokens, params, median, spread):
    levels = logit(draw(tokens, **params).double())
    assert levels.median().item() == pytest.approx(median, abs=0.05)
    assert levels.std().item() == pytest.approx(spread, rel=0.03)


def test_quantiles_are_those_of_the_closed_form():
    """Uniform: low + p (high - low). Logit-normal: sigmoid(std * normal quantile(p) + shift)."""
    shares = [0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99]
    at = torch.tensor(shares, dtype=torch.float64)
    normal = torch.tensor([NormalDist().inv_cdf(p) for p in shares], dtype=torch.float64)
    cases = [
        (at, draw(mode="uniform", count=200_000)),
        (0.1 + at * 0.5, draw(mode="uniform", count=200_000, min=0.1, max=0.6)),
        (torch.sigmoid(normal + 0.95), draw(1024, 200_000)),
        (torch.sigmoid(normal + 2.05), draw(9216, 200_000)),
        (torch.sigmoid(normal + token_shift(9216)), draw(9216, 200_000, shift_limit=9.0)),
        (torch.sigmoid(normal + token_shift(27)), draw(27, 200_000)),
        (torch.sigmoid(0.5 * normal - 1), draw(1024, 200_000, std=0.5, shift=-1.0)),
    ]
    for expected, levels in cases:
        assert (torch.quantile(levels.double(), at) - expected).abs().max() < 0.005


@pytest.mark.parametrize(
    ("mode", "params"),
    [
        ("uniform", {"min": 0.6, "max": 0.4}),
        ("uniform", {"max": 1.5}),
        ("shifted_logit_normal", {"std": 0.0}),
        ("shifted_logit_normal", {"uniform_share": 2.0}),
    ],
)
def test_parameters_that_describe_no_distribution_are_refused(mode, params):
    values = {"timestep_sampling_mode": mode, "timestep_sampling_params": params}
    with pytest.raises(ConfigurationError, match=f"timestep_sampling_params .*{list(params)[-1]}"):
        build(FlowMatchingConfig, values)


def test_uniform_and_its_share():
    levels = draw(mode="uniform", min=0.2, max=0.4)
    assert levels.min() >= 0.2
    assert levels.max() <= 0.4
    assert levels.mean().item() == pytest.approx(0.3, abs=0.005)
    shifted, mixed = draw(shift=6.0), draw(shift=6.0, uniform_share=0.5)
    assert (shifted < 0.5).float().mean().item() < 0.001
    assert (mixed < 0.5).float().mean().item() == pytest.approx(0.25, abs=0.02)


def test_sampling_levels_are_shifted_and_end_at_the_terminal():
    levels = sampling_levels(20, {"video": 1024})
    assert levels.shape == (21,)
    assert levels[0] == 1
    assert levels[-1] == 0
    assert levels[-2].item() == pytest.approx(0.1)
    shift = math.exp(0.95)
    plain = [shift / (shift + 1 / (1 - k / 20) - 1) for k in range(20)]
    stretched = [1 - (1 - s) * 0.9 / (1 - plain[-1]) for s in plain]
    assert levels[:-1].tolist() == pytest.approx(stretched, abs=1e-6)
    assert sampling_levels(1, {"video": 27}).tolist() == pytest.approx([1, 0])


@pytest.mark.parametrize("tokens", [27, 1024, 9216])
def test_the_schedule_of_two_steps_has_the_terminal_alone_between_its_ends(tokens):
    assert sampling_levels(2, {"video": tokens}).tolist() == pytest.approx([1, 0.1, 0])


@settings(max_examples=50, deadline=None, derandomize=True)
@given(steps=st.integers(2, 100), tokens=st.integers(1, 20_000))
def test_sampling_levels_fall_from_one_over_the_terminal_to_zero(steps, tokens):
    levels = sampling_levels(steps, {"video": tokens}).double()
    assert len(levels) == steps + 1
    assert levels[[0, -1]].tolist() == pytest.approx([1, 0], abs=1e-3)
    assert levels[-2].item() == pytest.approx(0.1, abs=1e-5)
    assert (levels.diff() < 0).all()
    more = sampling_levels(steps, {"video": tokens + 1000}).double()
    assert (more >= levels - 1e-4).all(), "more tokens need more noise"


@settings(max_examples=50, deadline=None, derandomize=True)
@given(tokens=st.integers(0, 50_000), more=st.integers(1, 1000))
def test_the_shift_is_linear_in_the_tokens(tokens, more):
    slope = (2.05 - 0.95) / 3072
    assert token_shift(tokens + more) - token_shift(tokens) == pytest.approx(more * slope)
    assert VIDEO.shift_limit == 2.05


@settings(max_examples=50, deadline=None, derandomize=True)
@given(
    shift=st.floats(-5, 5),
    std=st.floats(0.1, 3),
    share=st.sampled_from([None, 0.0, 0.3, 1.0]),
    seed=st.integers(0, 2**40),
)
def test_noise_levels_are_drawn_from_the_seed_in_a_fixed_order(shift, std, share, seed):
    """One uniform number for each sample, then a normal one, then whether the uniform one is taken.
    A change of the order changes every run."""
    params = {"shift": shift, "std": std} | ({} if share is None else {"uniform_share": share})
    config = FlowMatchingConfig(timestep_sampling_params=params)
    drawing = OneGenerator(seed, 16)
    found = draw_noise_levels(config, 9000, VIDEO, drawing)
    generator = torch.Generator().manual_seed(seed)
    uniform, normal = torch.rand(16, generator=generator), torch.randn(16, generator=generator)
    expected = torch.sigmoid(normal * std + shift)
    if share:
        taken = torch.rand(16, generator=generator) < share
        expected[taken] = uniform[taken]
    assert torch.allclose(found, expected, atol=1e-6)
    assert torch.equal(drawing.generator.get_state(), generator.get_state()), (
        "no other number is drawn"
    )
    assert ((found >= 0) & (found <= 1)).all()


def test_the_stream_s_shift_holds_up_to_its_limit_unless_one_is_set():
    def level(**params):
        config = FlowMatchingConfig(timestep_sampling_params={"std": 1e-6} | params)
        return logit(draw_noise_levels(config, 6749, VIDEO, OneGenerator(0, 1))).item()

    assert token_shift(6749) == pytest.approx(3.0, abs=1e-3)
    shifts = [level(), level(shift_limit=2.5), level(shift_limit=9.0), level(shift=-1.0)]
    assert shifts == pytest.approx([2.05, 2.5, 3.0, -1.0], abs=1e-3)


def test_ltx2_stretches_the_levels_between_two_quantiles_and_has_no_limit():
    """A tenth is uniform; of the rest the quantiles are those of the normal distribution, stretched."""
    config = FlowMatchingConfig(timestep_sampling_params={"uniform_share": 0.0})
    draws = OneGenerator(0, 200_000)
    found = draw_noise_levels(config, 126, AudioStream(), draws)
    shift = token_shift(126)
    assert shift == pytest.approx(0.63, abs=0.01)
    low, high = (1 / (1 + math.exp(-(NormalDist().inv_cdf(q) + shift))) for q in (0.005, 0.999))
    for quantile in (0.05, 0.5, 0.95):
        plain = 1 / (1 + math.exp(-(NormalDist().inv_cdf(quantile) + shift)))
        expected = (plain - low) / (high - low)
        assert found.quantile(quantile).item() == pytest.approx(expected, abs=0.005)
    assert found.max() == 1
    assert found.min() >= 1e-3

    mixed = draw_noise_levels(FlowMatchingConfig(), 126, AudioStream(), draws)
    low_share = 0.9 * (found < 0.1).float().mean() + 0.1 * 0.1
    assert (mixed < 0.1).float().mean().item() == pytest.approx(low_share.item(), abs=0.003)
