"""Small transformers, and what autograd keeps of a forward pass of theirs for the backward pass."""

import torch
from diffusers import LTXVideoTransformer3DModel


def small_transformer(
    layers: int = 2, width: int = 64, head: int = 32, text_width: int = 40
) -> LTXVideoTransformer3DModel:
    """With random weights, the same at every call."""
    torch.manual_seed(0)
    return LTXVideoTransformer3DModel(
        num_layers=layers,
        num_attention_heads=width // head,
        attention_head_dim=head,
        cross_attention_dim=width,
        caption_channels=text_width,
    ).train()


def kept_bytes(
    transformer: LTXVideoTransformer3DModel, tokens: int = 256, autocast: bool = True
) -> int:
    """Bytes of everything that is kept, weights left out; in bfloat16 with autocast."""
    weights = {p.untyped_storage().data_ptr() for p in transformer.parameters()}
    kept: dict[int, int] = {}
    alive = []

    def note(tensor: torch.Tensor) -> torch.Tensor:
        alive.append(tensor)
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    dtype, text_width = transformer.dtype, transformer.config.caption_channels
    with (
        torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor),
        torch.autocast("cpu", torch.bfloat16, enabled=autocast),
    ):
        transformer(
            hidden_states=torch.randn(1, tokens, 128, dtype=dtype),
            encoder_hidden_states=torch.randn(1, 16, text_width, dtype=dtype),
            timestep=torch.full((1, tokens), 500.0),
            encoder_attention_mask=torch.ones(1, 16),
            video_coords=torch.rand(1, 3, tokens),
        )
    return sum(kept.values())
