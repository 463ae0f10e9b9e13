"""Small random models of LTX-2.x with the layout of each published generation."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from diffusers import LTX2VideoTransformer3DModel

from ltxv_train_core.families.base import StreamInput, Text
from ltxv_train_core.families.ltx2.connector_names import comfy_connector_name
from ltxv_train_core.families.ltx2.connectors import Connectors
from ltxv_train_core.families.ltx2.description import as_metadata, described_transformer
from ltxv_train_core.families.ltx2.layers import LAYERS
from ltxv_train_core.families.names import (
    AUDIO,
    AUDIO_TEXT,
    TRANSFORMER_PREFIX,
    VIDEO,
    VIDEO_TEXT,
)
from ltxv_train_core.storage.tensors import write_safetensors

HEADS, HEAD, AUDIO_HEAD, LAYER_COUNT = 4, 32, 16, 2
WIDTH, AUDIO_WIDTH = HEADS * HEAD, HEADS * AUDIO_HEAD
CAPTION = 96
REGISTERS = 128
TOKENS, SOUNDS, WORDS = 12, 7, 10

_SIZES: dict[str, Any] = {
    "num_layers": LAYER_COUNT,
    "num_attention_heads": HEADS,
    "attention_head_dim": HEAD,
    "cross_attention_dim": WIDTH,
    "audio_num_attention_heads": HEADS,
    "audio_attention_head_dim": AUDIO_HEAD,
    "audio_cross_attention_dim": AUDIO_WIDTH,
    "rope_type": "split",
}
_LATER: dict[str, Any] = {
    "gated_attn": True,
    "audio_gated_attn": True,
    "cross_attn_mod": True,
    "audio_cross_attn_mod": True,
    "use_prompt_embeddings": False,
    "caption_channels": WIDTH,
}
GENERATIONS: dict[str, dict[str, Any]] = {
    "2.0": {"caption_channels": CAPTION},
    "2.3": _LATER,
    "2.5": _LATER | {"ff_bias": False, "use_keyframes_abs_pos_embedding": True},
}


def transformer_of(generation: str, **options: Any) -> LTX2VideoTransformer3DModel:
    """With random weights, the same at every call."""
    torch.manual_seed(0)
    made = LTX2VideoTransformer3DModel(**(_SIZES | GENERATIONS[generation] | options))
    _randomise(made)
    return made.eval()


def connectors_of(generation: str, seed: int = 1) -> Connectors:
    """With random weights, the same at every call."""
    torch.manual_seed(seed)
    is_first = generation == "2.0"
    common = {
        "num_layers": 1,
        "num_learnable_registers": REGISTERS,
        "rope_type": "split",
        "gated_attention": not is_first,
        "num_attention_heads": HEADS,
    }
    widths = (CAPTION, CAPTION) if is_first else (WIDTH, AUDIO_WIDTH)
    made = Connectors(*({**common, "attention_head_dim": width // HEADS} for width in widths))
    _randomise(made)
    return made.eval()


@torch.no_grad()
def _randomise(module: torch.nn.Module) -> None:
    for parameter in module.parameters():
        if parameter.ndim > 1:
            parameter.normal_(std=0.3 / math.sqrt(parameter.shape[-1]) * 4)


def write_checkpoint(
    path: Path,
    generation: str,
    others: Mapping[str, torch.Tensor] | None = None,
    described: Mapping[str, Any] | None = None,
    seed: int = 1,
    **options: Any,
) -> Path:
    """Transformer and connectors in one file, as they are published.

    Args:
        others, described: of other parts, and what the metadata say of them.
        seed: of the connectors.
        options: of the transformer.
    """
    transformer = transformer_of(generation, **options)
    tensors = {LAYERS.comfy_name(n): t for n, t in transformer.state_dict().items()}
    connectors = connectors_of(generation, seed)
    tensors |= {comfy_connector_name(n): t for n, t in connectors.state_dict().items()}
    is_first = generation == "2.0"
    of_transformer = described_transformer(transformer.config) | {
        "connector_num_attention_heads": HEADS,
        "connector_attention_head_dim": (CAPTION if is_first else WIDTH) // HEADS,
        "audio_connector_num_attention_heads": HEADS,
        "audio_connector_attention_head_dim": (CAPTION if is_first else AUDIO_WIDTH) // HEADS,
        "connector_num_layers": 1,
        "connector_apply_gated_attention": not is_first,
    }
    named = {TRANSFORMER_PREFIX + name: tensor.contiguous() for name, tensor in tensors.items()}
    metadata = as_metadata({"transformer": of_transformer, **(described or {})})
    write_safetensors(path, named | dict(others or {}), metadata)
    return path


def given(
    count: int = 2, with_sound: bool = True, tokens: int = TOKENS, caption: int | None = None
) -> tuple[dict[str, StreamInput], Text]:
    """Samples with levels of their own; the first frame of the first one is clean."""
    torch.manual_seed(3)
    levels = torch.tensor([0.9, 0.15])[:count, None].repeat(1, tokens)
    levels[0, :4] = 0
    positions = torch.rand(count, 3, tokens) * torch.tensor([1.0, 300.0, 300.0])[:, None]
    seen = {VIDEO: StreamInput(torch.randn(count, tokens, 128), levels, positions)}
    if with_sound:
        sound = torch.tensor([0.05, 0.8])[:count, None].repeat(1, SOUNDS)
        where = torch.rand(count, 1, SOUNDS)
        seen[AUDIO] = StreamInput(torch.randn(count, SOUNDS, 128), sound, where)
    text = {
        VIDEO_TEXT: torch.randn(count, WORDS, caption or WIDTH),
        AUDIO_TEXT: torch.randn(count, WORDS, caption or AUDIO_WIDTH),
    }
    return seen, Text(text, torch.ones(count, WORDS, dtype=torch.bool), is_padded=False)
