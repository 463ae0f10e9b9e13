"""AdamW in bfloat16, and weights that move one by one."""

import pytest
import torch

from ltxv_train_core.optim.released import ReleasedGradients
from ltxv_train_core.optim.rounded_adamw import NUMBERS_AT_ONCE, RoundedAdamW, rounded

COUNT = 20_000


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("value", [1.001, -1.001, 3e-5, 1.0])
def test_numbers_are_right_on_average(value):
    """Of the two neighbours in bfloat16, each as often as it is near."""
    found = rounded(torch.full((COUNT,), value), generator())
    near = torch.tensor(value).bfloat16().float()
    assert found.dtype == torch.bfloat16
    assert len(found.unique()) == (1 if near == value else 2)
    spread = (found.float().max() - found.float().min()).item()
    assert found.float().mean().item() == pytest.approx(value, abs=0.02 * spread + 1e-9)


def moved(kind, steps=200):
    """The mean of many weights that begin at 1 and have the same noisy gradients, after small steps."""
    weight = torch.nn.Parameter(torch.ones(COUNT, dtype=kind))
    optimizer = (
        RoundedAdamW([weight], 1e-5, 0.01, seed=1)
        if kind == torch.bfloat16
        else torch.optim.AdamW([weight], lr=1e-5, weight_decay=0.01)
    )
    draws = generator()
    for _ in range(steps):
        weight.grad = (1 + torch.randn(COUNT, generator=draws)).bfloat16().to(kind)
        optimizer.step()
    return weight.detach().float()


def test_steps_that_bfloat16_can_not_hold_add_up_as_in_float32():
    """A step of 1e-5 is a 390th of the distance to the next number below 1."""
    exact, ours = moved(torch.float32), moved(torch.bfloat16)
    assert exact.mean().item() < 0.9990
    assert 1 - ours.mean().item() == pytest.approx(1 - exact.mean().item(), rel=0.05)


def test_it_follows_the_formula_of_adamw():
    """On average over many weights, with gradients that change."""
    ours = torch.nn.Parameter(torch.full((COUNT,), 2.0, dtype=torch.bfloat16))
    exact = torch.nn.Parameter(torch.full((1,), 2.0))
    optimizers = RoundedAdamW([ours], 0.1, 0.01, seed=0), torch.optim.AdamW([exact], lr=0.1)
    for gradient in (1.0, -3.0, 0.5, 0.5):
        for weight, optimizer in zip((ours, exact), optimizers, strict=True):
            weight.grad = torch.full_like(weight, gradient)
            optimizer.step()
    assert ours.float().mean().item() == pytest.approx(exact.item(), abs=0.002)


def test_every_number_moves_however_many_are_computed_at_a_time():
    count = NUMBERS_AT_ONCE + 3
    weight = torch.nn.Parameter(torch.ones(count, dtype=torch.bfloat16))
    weight.grad = torch.ones_like(weight)
    RoundedAdamW([weight], 0.1, 0.0, seed=0).step()
    assert (weight - 0.9).abs().max() < 0.005


def test_what_is_drawn_depends_on_seed_step_and_weight_alone():
    def weights(seed, disturbed=False):
        both = [torch.nn.Parameter(torch.ones(500, dtype=torch.bfloat16)) for _ in range(2)]
        optimizer = RoundedAdamW(both, 1e-4, 0.01, seed)
        for _ in range(3):
            for weight in both:
                weight.grad = torch.ones_like(weight)
            if disturbed:
                torch.rand(3)
            optimizer.step()
        return both

    one, other = weights(1)
    again, _ = weights(1, disturbed=True)
    assert torch.equal(one, again)
    assert not torch.equal(one, other)
    assert not torch.equal(one, weights(2)[0])


def test_each_gradient_is_clipped_to_its_share_and_released():
    large, small = (torch.nn.Parameter(torch.zeros(count)) for count in (12, 4))
    optimizer = torch.optim.SGD([large, small], lr=1.0)
    released = ReleasedGradients(optimizer, [large, small], max_norm=2.0)
    (large.sum() * 100 + small.sum() * 0.25).backward()
    assert (large.grad, small.grad) == (None, None)
    # Three quarters of the numbers: a norm of 2 * sqrt(3 / 4), along equal numbers.
    assert large.norm().item() == pytest.approx(3**0.5, rel=1e-5)
    assert small.tolist() == [-0.25] * 4, "smaller than its share"
    assert released.norm().item() == pytest.approx((12 * 100**2 + 4 * 0.25**2) ** 0.5)
    assert released.norm().isnan(), "begins anew"


@pytest.mark.parametrize("broken", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("max_norm", [1.0, float("inf")])
def test_a_gradient_that_is_not_finite_moves_nothing(broken, max_norm):
    weight = torch.nn.Parameter(torch.ones(3))
    released = ReleasedGradients(torch.optim.SGD([weight], lr=1.0), [weight], max_norm)
    (weight * torch.tensor([1.0, broken, 1.0])).sum().backward()
    assert not released.norm().isfinite()
    assert weight.isfinite().all()
    assert weight[1] == 1.0
