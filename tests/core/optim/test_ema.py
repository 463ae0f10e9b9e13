import contextlib

import pytest
import torch

from ltxv_train_core.optim import WeightAverage


def averaged(values, decay):
    """The average after each of some values of one weight that begins at 0."""
    weight = torch.nn.Parameter(torch.zeros(2))
    average = WeightAverage([weight], decay)
    found = []
    for value in values:
        weight.data.fill_(value)
        average.update()
        found.append(average.average[0][0].item())
    return found, average, weight


def test_the_decay_rises_to_its_limit():
    values = [1.0, 3.0, -2.0, 5.0]
    for limit, decays in ((0.9, [2 / 11, 3 / 12, 4 / 13, 5 / 14]), (0.2, [2 / 11, 0.2, 0.2, 0.2])):
        expected, now = [], 0.0
        for value, decay in zip(values, decays, strict=True):
            now = decay * now + (1 - decay) * value
            expected.append(now)
        assert averaged(values, limit)[0] == pytest.approx(expected)


def test_weights_come_back_bit_for_bit_after_a_failure():
    _, average, weight = averaged([0.1], 0.9)
    with contextlib.suppress(MemoryError), average.applied():
        assert weight.tolist() == pytest.approx([0.9 / 11] * 2)
        raise MemoryError
    assert torch.equal(weight, torch.full((2,), 0.1))


def test_a_saved_average_goes_on():
    found, saved, _ = averaged([1.0, 3.0, -2.0], 0.9)
    weight = torch.nn.Parameter(torch.full((2,), 5.0))
    average = WeightAverage([weight], 0.9)
    average.load_state_dict(saved.state_dict())
    average.update()
    assert average.updates == 4
    assert average.average[0].tolist() == pytest.approx([found[-1] * 5 / 14 + 5 * 9 / 14] * 2)


@pytest.mark.parametrize(
    ("damage", "why"),
    [
        ({"updates": -1}, "a number of steps is none"),
        ({"updates": True}, "a number of steps is none"),
        ({"average": [torch.zeros(3)]}, "of another model"),
        ({"average": [torch.full((2,), float("inf"))]}, "NaN or infinite"),
        ({"average": []}, "shorter"),
        ({"average": [torch.zeros(2), torch.zeros(2)]}, "longer"),
    ],
)
def test_a_damaged_average_is_refused(damage, why):
    _, average, _ = averaged([1.0], 0.9)
    with pytest.raises(ValueError, match=why):
        average.load_state_dict(average.state_dict() | damage)


def test_a_saved_average_of_no_updates_is_one():
    _, average, _ = averaged([], 0.9)
    average.load_state_dict(average.state_dict())
    assert average.updates == 0
