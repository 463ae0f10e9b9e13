"""The estimate of training memory against what a step really keeps for its backward pass."""

import pytest
import torch
from diffusers import LTXVideoTransformer3DModel

from ltxv_train_core.adapters.inject import add_lora
from ltxv_train_core.config import LoRAConfig
from ltxv_train_core.data.summary import MODEL_SIZES, ModelSize, training_memory_bytes

TOKENS, WIDTH = 256, 512


def kept_bytes(layers: int) -> int:
    """Bytes of everything that autograd keeps of a forward pass, weights left out."""
    torch.manual_seed(0)
    transformer = LTXVideoTransformer3DModel(
        num_layers=layers,
        num_attention_heads=WIDTH // 64,
        attention_head_dim=64,
        cross_attention_dim=WIDTH,
        caption_channels=64,
    ).to(torch.bfloat16)
    add_lora(transformer, LoRAConfig(rank=4, alpha=4), 0)
    weights = {p.untyped_storage().data_ptr() for p in transformer.parameters()}
    kept: dict[int, int] = {}

    def note(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    alive = []
    with (
        torch.autograd.graph.saved_tensors_hooks(
            lambda t: (alive.append(t), note(t))[1], lambda t: t
        ),
        torch.autocast("cpu", torch.bfloat16),
    ):
        transformer(
            hidden_states=torch.randn(1, TOKENS, 128, dtype=torch.bfloat16),
            encoder_hidden_states=torch.randn(1, 16, 64, dtype=torch.bfloat16),
            timestep=torch.full((1, TOKENS), 500.0),
            encoder_attention_mask=torch.ones(1, 16),
            num_frames=4,
            height=8,
            width=8,
        )
    return sum(kept.values())


def test_a_layer_keeps_what_the_estimate_says():
    estimate = training_memory_bytes(ModelSize("layer", 1, WIDTH, 0), TOKENS, checkpointing=False)
    kept = (kept_bytes(4) - kept_bytes(2)) / 2
    assert 0.85 < kept / estimate < 1.15


def test_the_estimate_grows_with_the_model_and_with_tokens():
    two, thirteen = MODEL_SIZES
    assert training_memory_bytes(two, 1792, False) == pytest.approx(3.8e9 + 6.28 * 2**30, rel=0.01)
    for model in MODEL_SIZES:
        less, more = (training_memory_bytes(model, n, False) for n in (500, 4000))
        assert less < more
        assert training_memory_bytes(model, 4000, True) < more
    assert training_memory_bytes(thirteen, 500, True) > training_memory_bytes(two, 500, True)
