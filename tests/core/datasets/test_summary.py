"""The estimate of training memory."""

import pytest

from ltxv_train_core.families.registry import EARLIEST


def test_the_estimate_grows_with_the_model_and_with_tokens():
    two, thirteen = EARLIEST.sizes
    assert two.training_bytes(1792, False) == pytest.approx(3.8e9 + 2.71 * 2**30, rel=0.01)
    for model in EARLIEST.sizes:
        less, more = (model.training_bytes(n, False) for n in (500, 4000))
        assert less < more
        assert model.training_bytes(4000, True) < more
    assert thirteen.training_bytes(500, True) > two.training_bytes(500, True)
