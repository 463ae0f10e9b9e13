import math

import pytest
import torch

from ltxv_train_core.config import FlowMatchingConfig
from ltxv_train_core.flow.noise_levels import draw_noise_levels, token_shift
from ltxv_train_core.flow.sampler import sampling_levels


def draw(tokens=1024, count=20_000, mode="shifted_logit_normal", **params):
    config = FlowMatchingConfig(timestep_sampling_mode=mode, timestep_sampling_params=params)
    return draw_noise_levels(config, count, tokens, torch.Generator().manual_seed(0))


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


def test_uniform_and_its_share():
    levels = draw(mode="uniform", min=0.2, max=0.4)
    assert levels.min() >= 0.2
    assert levels.max() <= 0.4
    assert levels.mean().item() == pytest.approx(0.3, abs=0.005)
    shifted, mixed = draw(shift=6.0), draw(shift=6.0, uniform_share=0.5)
    assert (shifted < 0.5).float().mean().item() < 0.001
    assert (mixed < 0.5).float().mean().item() == pytest.approx(0.25, abs=0.02)


def test_sampling_levels_are_shifted_and_end_at_the_terminal():
    levels = sampling_levels(20, tokens=1024)
    assert levels.shape == (21,)
    assert levels[0] == 1
    assert levels[-1] == 0
    assert levels[-2].item() == pytest.approx(0.1)
    shift = math.exp(0.95)
    plain = [shift / (shift + 1 / (1 - k / 20) - 1) for k in range(20)]
    stretched = [1 - (1 - s) * 0.9 / (1 - plain[-1]) for s in plain]
    assert levels[:-1].tolist() == pytest.approx(stretched, abs=1e-6)
    assert sampling_levels(1, tokens=27).tolist() == pytest.approx([1, 0])
