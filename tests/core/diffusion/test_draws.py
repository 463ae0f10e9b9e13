"""Each sample draws its own numbers, whichever others it is drawn with."""

import torch

from ltxv_train_core.diffusion.draws import SampleDraws, sample_seed


def test_a_sample_draws_alike_alone_and_among_others():
    together = SampleDraws(7, [3, 4, 5])
    levels, noise = together.uniform(2), together.normal(4, 4)
    alone = SampleDraws(7, [4])
    assert torch.equal(alone.uniform(2)[0], levels[1])
    assert torch.equal(alone.normal(4, 4)[0], noise[1])
    assert len({tuple(each) for each in levels.tolist()}) == 3
    assert not torch.equal(SampleDraws(8, [4]).uniform(2)[0], levels[1])


def test_shared_draws_are_those_of_the_first_sample():
    levels = SampleDraws(7, [3, 4]).shared().uniform(2)
    assert torch.equal(levels[0], levels[1])
    assert torch.equal(levels[:1], SampleDraws(7, [3]).uniform(2))


def test_a_later_version_draws_the_same():
    """Half-done runs go on with the noise that they began with."""
    assert sample_seed(0, 0) == 771124661600752253
    assert sample_seed(42, 1000) == 1089052017679740649
