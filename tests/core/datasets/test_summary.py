"""The estimate of training memory."""

import pytest

from ltxv_train_core.datasets.summary import MODEL_SIZES, training_memory_bytes


def test_the_estimate_grows_with_the_model_and_with_tokens():
    two, thirteen = MODEL_SIZES
    assert training_memory_bytes(two, 1792, False) == pytest.approx(3.8e9 + 3.49 * 2**30, rel=0.01)
    for model in MODEL_SIZES:
        less, more = (training_memory_bytes(model, n, False) for n in (500, 4000))
        assert less < more
        assert training_memory_bytes(model, 4000, True) < more
    assert training_memory_bytes(thirteen, 500, True) > training_memory_bytes(two, 500, True)
