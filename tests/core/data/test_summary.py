"""The estimate of training memory against what a step really keeps for its backward pass."""

import pytest
import torch
from diffusers import LTXVideoTransformer3DModel

from ltxv_train_core.adapters.inject import add_lora
from ltxv_train_core.config import LoRAConfig
from ltxv_train_core.data.summary import MODEL_SIZES, ModelSize, training_memory_bytes
from ltxv_train_core.models.lean import make_lean
from tests.core.kept import kept_bytes

TOKENS, WIDTH = 256, 512


def kept_by_a_block(lean: bool = True) -> float:
    def kept(layers: int) -> int:
        torch.manual_seed(0)
        transformer = LTXVideoTransformer3DModel(
            num_layers=layers,
            num_attention_heads=WIDTH // 64,
            attention_head_dim=64,
            cross_attention_dim=WIDTH,
            caption_channels=64,
        ).to(torch.bfloat16)
        if lean:
            make_lean(transformer)
        add_lora(transformer, LoRAConfig(rank=4, alpha=4), 0)
        return kept_bytes(transformer, TOKENS)

    return (kept(4) - kept(2)) / 2


def test_a_layer_keeps_what_the_estimate_says():
    one, two = (
        training_memory_bytes(ModelSize("", layers, WIDTH, 0), TOKENS, checkpointing=False)
        for layers in (1, 2)
    )
    kept = kept_by_a_block()
    assert 0.85 < kept / (two - one) < 1.15
    assert kept < 0.6 * kept_by_a_block(lean=False)


def test_the_estimate_grows_with_the_model_and_with_tokens():
    two, thirteen = MODEL_SIZES
    assert training_memory_bytes(two, 1792, False) == pytest.approx(3.8e9 + 3.49 * 2**30, rel=0.01)
    for model in MODEL_SIZES:
        less, more = (training_memory_bytes(model, n, False) for n in (500, 4000))
        assert less < more
        assert training_memory_bytes(model, 4000, True) < more
    assert training_memory_bytes(thirteen, 500, True) > training_memory_bytes(two, 500, True)
