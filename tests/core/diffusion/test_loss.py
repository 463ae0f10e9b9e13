"""What a prediction costs, by its error and by the noise level."""

import math

import pytest
import torch

from ltxv_train_core.config import FlowMatchingConfig, build
from ltxv_train_core.diffusion.loss import cosmap_weights, loss_of, min_snr_weights
from ltxv_train_core.errors import ConfigurationError
from ltxv_train_core.families.base import StreamInput
from ltxv_train_core.strategies import StreamStep

ERRORS = torch.tensor([0.0, 0.25, -0.5, 2.0, -3.0])


def costs(**options) -> list[float]:
    measure = loss_of(FlowMatchingConfig(**options))
    return measure.errors(ERRORS + 1, torch.ones(5)).tolist()


def test_errors_cost_what_their_formulas_say():
    assert costs() == pytest.approx([0, 0.0625, 0.25, 4, 9])
    assert costs(loss="huber") == pytest.approx([0, 0.03125, 0.125, 1.5, 2.5])
    assert costs(loss="huber", loss_delta=0.5) == pytest.approx([0, 0.03125, 0.125, 0.875, 1.375])
    halves = [0, 0.0625, 0.25, 1.75, 2.75]
    assert costs(loss="smooth_l1", loss_delta=0.5) == pytest.approx(halves)


def test_min_snr_is_the_paper_s_on_the_clean_sample():
    """With prediction v the clean sample is x_t - t v: its weighted error is that of the velocity."""
    torch.manual_seed(0)
    levels = torch.tensor([0.05, 0.2, 0.31, 0.5, 0.9])
    clean, noise = torch.randn(5, 8), torch.randn(5, 8)
    velocity, predicted = noise - clean, torch.randn(5, 8)
    t = levels[:, None]
    noisy = (1 - t) * clean + t * noise
    of_clean = (noisy - t * predicted - clean).square().mean(1)
    snr = ((1 - levels) / levels).square()
    wanted = snr.clamp(max=5) * of_clean
    found = min_snr_weights(levels, 5) * (predicted - velocity).square().mean(1)
    assert torch.allclose(found / found[0], wanted / wanted[0], rtol=1e-4)
    assert min_snr_weights(torch.ones(1), 5).item() == 0


@pytest.mark.parametrize("gamma", [1.0, 5.0, 20.0])
def test_weights_have_the_mean_1_over_all_levels(gamma):
    levels = (torch.arange(100_000, dtype=torch.float64) + 0.5) / 100_000
    assert min_snr_weights(levels, gamma).mean().item() == pytest.approx(1, abs=1e-4)
    assert cosmap_weights(levels).mean().item() == pytest.approx(1, abs=1e-4)


def test_cosmap_is_that_of_sd3():
    found = cosmap_weights(torch.tensor([0.0, 0.5, 1.0])).tolist()
    assert found == pytest.approx([2 / math.pi, 4 / math.pi, 2 / math.pi])


def test_a_step_weighs_samples_by_their_level_and_counts_what_is_not_given():
    """The first token of the first sample is given, at level 0."""
    levels = torch.tensor([[0.0, 0.5], [1.0, 1.0]])
    seen = StreamInput(torch.zeros(2, 2, 1), levels, torch.zeros(2, 3, 2))
    counted = levels > 0
    velocity = torch.tensor([[[9.0], [1.0]], [[2.0], [4.0]]])
    prediction = torch.zeros(2, 2, 1)

    def losses(**options) -> list[float]:
        measure = loss_of(FlowMatchingConfig(**options))
        step = StreamStep(seen, velocity, counted, measure=measure)
        assert step.loss(prediction) == pytest.approx(step.sample_losses(prediction).mean().item())
        return step.sample_losses(prediction).tolist()

    assert losses() == [1, 10]
    assert losses(loss="huber") == [0.5, 2.5]
    assert losses(loss_weighting="cosmap") == pytest.approx([4 / math.pi, 20 / math.pi])
    mean = (5 * 0.3090170**3 + 0.6909830**3) / 3
    found = losses(loss_weighting="min_snr", loss="huber")
    assert found == pytest.approx([0.5 * 0.25 / mean, 0], rel=1e-5)


@pytest.mark.parametrize(
    ("options", "told"),
    [({"loss": "l1"}, "loss"), ({"loss_delta": 0}, "loss_delta"), ({"min_snr_gamma": 0}, "gamma")],
)
def test_what_there_is_not(options, told):
    with pytest.raises(ConfigurationError, match=told):
        build(FlowMatchingConfig, options, "flow_matching")
