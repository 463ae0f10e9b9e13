import contextlib

import pytest
import torch
from prodigyopt import Prodigy
from transformers.optimization import Adafactor

from ltxv_train_core.config import OptimizationConfig
from ltxv_train_core.optim import build_optimizer, final_weights, optimizer_problem

CPU = torch.device("cpu")


def options(kind, **values):
    schedule = {"scheduler_type": "constant"} if kind.endswith("schedulefree") else {}
    rate = 1.0 if kind.startswith("prodigy") else 0.1
    return OptimizationConfig(optimizer_type=kind, learning_rate=rate, **schedule, **values)


def weight_after(optimizer, weight, gradients):
    for gradient in gradients:
        weight.grad = torch.full_like(weight, gradient)
        optimizer.step()
    return weight[0].item()


@pytest.mark.parametrize("kind", ["adamw", "adamw8bit", "adafactor", "adamw_schedulefree"])
def test_the_first_step_is_as_long_as_the_rate_and_decays_a_thousandth(kind):
    """1 - 0.1 for the gradient, whatever its size, - 0.1 * 0.01 for the weight."""
    for gradient in (1.0, 7.0):
        weight = torch.nn.Parameter(torch.ones(8))
        optimizer = build_optimizer(options(kind), [weight])
        assert weight_after(optimizer, weight, [gradient]) == pytest.approx(0.899, abs=1e-5)
        weight = torch.nn.Parameter(torch.full((8,), 3.0))
        optimizer = build_optimizer(options(kind), [weight])
        assert weight_after(optimizer, weight, [gradient]) == pytest.approx(2.897, abs=1e-5)


def test_parameters_of_one_rate_are_a_group():
    weights = [torch.nn.Parameter(torch.ones(8)) for _ in range(4)]
    optimizer = build_optimizer(options("adamw"), weights, rates=[2.0, 1.0, 0.5, 2.0])
    found = [(group["lr"], [id(p) for p in group["params"]]) for group in optimizer.param_groups]
    of_each = [(0.05, [2]), (0.1, [1]), (0.2, [0, 3])]
    assert found == [(pytest.approx(lr), [id(weights[n]) for n in ns]) for lr, ns in of_each]


def test_adamw_follows_its_formula():
    """The usual betas 0.9 and 0.999, epsilon 1e-8."""
    weight = torch.nn.Parameter(torch.full((8,), 2.0))
    found = weight_after(build_optimizer(options("adamw"), [weight]), weight, [1.0, -3.0, 0.5])
    expected, first, second = 2.0, 0.0, 0.0
    for step, gradient in enumerate([1.0, -3.0, 0.5], start=1):
        first, second = 0.9 * first + 0.1 * gradient, 0.999 * second + 0.001 * gradient**2
        size = (second / (1 - 0.999**step)) ** 0.5 + 1e-8
        expected = expected * (1 - 0.1 * 0.01) - 0.1 * first / (1 - 0.9**step) / size
    assert found == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("warmup", [0, 1, 5])
def test_prodigy_is_safeguarded_when_the_rate_warms_up(warmup):
    weights = [torch.nn.Parameter(torch.ones(8)) for _ in range(2)]
    ours = build_optimizer(options("prodigy", warmup_steps=warmup), [weights[0]])
    theirs = Prodigy(
        [weights[1]],
        lr=1.0,
        weight_decay=0.01,
        use_bias_correction=True,
        safeguard_warmup=warmup > 0,
    )
    gradients = [1.0, -3.0, 2.0, 2.5, 1.5, 4.0] * 10
    found = [
        weight_after(one, weight, gradients)
        for one, weight in zip((ours, theirs), weights, strict=True)
    ]
    assert found[0] == found[1]
    assert ours.param_groups[0]["safeguard_warmup"] == (warmup > 0)


def test_what_schedule_free_hands_out_is_the_average_of_its_points():
    """After two steps the average of both points; training goes on from bit for bit the same."""
    weight = torch.nn.Parameter(torch.ones(8))
    optimizer = build_optimizer(options("adamw_schedulefree"), [weight])
    points = []
    for gradient in (1.0, 2.0):
        weight_after(optimizer, weight, [gradient])
        points.append(optimizer.state[weight]["z"].clone())
    trained = weight.detach().clone()
    with contextlib.suppress(OSError), final_weights(optimizer):
        assert torch.allclose(weight, sum(points) / 2, atol=1e-6)
        assert not torch.allclose(weight, trained, atol=1e-4)
        raise OSError
    assert torch.equal(weight, trained)
    weight_after(optimizer, weight, [1.0])  # raises unless it is in training mode


@pytest.mark.parametrize("kind", ["adamw", "adafactor"])
def test_other_optimizers_hand_out_what_they_train(kind):
    weight = torch.nn.Parameter(torch.ones(8))
    optimizer = build_optimizer(options(kind), [weight])
    weight_after(optimizer, weight, [1.0])
    with final_weights(optimizer):
        assert weight[0].item() == pytest.approx(0.899, abs=1e-5)


def test_lion_moves_by_the_sign_and_decays():
    """Betas 0.9 and 0.99: the sign of a mix of momentum and gradient."""
    weight = torch.nn.Parameter(torch.ones(8))
    optimizer = build_optimizer(options("lion"), [weight])
    expected, moment = 1.0, 0.0
    for gradient in (1.0, -20.0, 0.5):
        found = weight_after(optimizer, weight, [gradient])
        sign = 1 if 0.9 * moment + 0.1 * gradient > 0 else -1
        expected = expected * (1 - 0.1 * 0.01) - 0.1 * sign
        moment = 0.99 * moment + 0.01 * gradient
        assert found == pytest.approx(expected, rel=1e-5)


def test_muon_moves_all_directions_alike_at_the_rate_of_adamw():
    """A gradient of 16 directions, the first a hundred times the last: the step has all, about alike."""
    weight = torch.nn.Parameter(torch.zeros(16, 16))
    optimizer = build_optimizer(options("muon"), [weight])
    torch.manual_seed(0)
    left, right = (torch.linalg.qr(torch.randn(16, 16))[0] for _ in "ab")
    weight.grad = left @ torch.diag(torch.logspace(2, 0, 16)) @ right.T
    optimizer.step()
    values = torch.linalg.svdvals(weight.detach())
    assert values[-1] > 0.5 * values[0]
    assert values.mean().item() == pytest.approx(0.1 * 0.2 * 4, rel=0.2), "0.2 sqrt(16)"


@pytest.mark.parametrize(
    "kind",
    [
        *("adamw", "adamw8bit", "prodigy", "adafactor"),
        *("lion", "came", "muon", "prodigy_schedulefree"),
    ],
)
def test_an_optimizer_that_works_has_no_problem(kind):
    assert optimizer_problem(options(kind), CPU) is None


def test_a_problem_names_the_option_and_what_to_choose_instead(monkeypatch):
    from bitsandbytes.optim import AdamW8bit

    def fail(self):
        raise RuntimeError("no kernel")

    monkeypatch.setattr(AdamW8bit, "step", fail)
    monkeypatch.setattr(Prodigy, "step", fail)
    monkeypatch.setattr(Adafactor, "step", fail)
    assert optimizer_problem(options("adamw"), CPU) is None
    for kind, instead in (
        ("adamw8bit", "adafactor (little memory) or adamw"),
        ("prodigy", "adamw"),
        ("adafactor", "adamw"),
    ):
        problem = optimizer_problem(options(kind), CPU)
        assert problem.startswith(f"optimization.optimizer_type: {kind} can't be used on")
        assert problem.endswith(f"no kernel); or choose {instead}")


def test_the_probe_is_large_enough_for_eight_bits(monkeypatch):
    from bitsandbytes.optim import AdamW8bit

    states = []
    step = AdamW8bit.step

    def look(self):
        step(self)
        (parameter,) = self.param_groups[0]["params"]
        states.append(self.state[parameter]["state1"].dtype)

    monkeypatch.setattr(AdamW8bit, "step", look)
    assert optimizer_problem(options("adamw8bit"), CPU) is None
    assert states == [torch.uint8]
