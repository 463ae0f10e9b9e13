"""Small transformers, and what autograd keeps of a forward pass of theirs for the backward pass."""

import torch
from diffusers import LTXVideoTransformer3DModel

from ltxv_train_core.families.base import StreamInput, Text
from ltxv_train_core.families.ltxv.denoiser import LTXVideoDenoiser
from ltxv_train_core.families.names import PROMPT, VIDEO

WORDS = 16


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
    transformer: LTXVideoTransformer3DModel,
    tokens: int = 256,
    autocast: bool = True,
    lean: bool = True,
    words: int = WORDS,
) -> int:
    """Bytes of everything that is kept, weights left out; in bfloat16 with autocast.

    Args:
        lean: of the forward pass that runs make, else of diffusers' own.
    """
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
    text = torch.randn(1, words, text_width, dtype=dtype)
    levels, mask = torch.full((1, tokens), 0.5), torch.ones(1, words, dtype=torch.bool)
    seen = StreamInput(torch.randn(1, tokens, 128), levels, torch.rand(1, 3, tokens))
    with (
        torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor),
        torch.autocast("cpu", torch.bfloat16, enabled=autocast),
    ):
        if lean:
            texts = Text({PROMPT: text}, mask, is_padded=False)
            LTXVideoDenoiser(transformer, True).denoise({VIDEO: seen}, texts)
        else:
            transformer(
                hidden_states=seen.tokens.to(dtype),
                encoder_hidden_states=text,
                timestep=levels * 1000,
                encoder_attention_mask=mask,
                video_coords=seen.positions,
            )
    return sum(kept.values())
