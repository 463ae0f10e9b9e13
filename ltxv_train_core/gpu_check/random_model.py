"""Transformers that nobody has trained, with blocks as wide as published ones."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from ..families.base import Denoiser
from ..families.model import Model, ModelFacts
from ..families.names import AUDIO_TEXT, PROMPT, VIDEO_TEXT
from ..families.open import open_model
from ..geometry import VideoSize
from ..models.sources.meta_loading import on_meta
from ..models.transformer import Transformer

LAYER_COUNT = 4
_TEXT_WIDTH, _SEED = 256, 0
_DRAWN = 2**22
"""So many numbers are drawn; larger weights repeat them. Drawing those of 13 billion weights would take minutes."""


@dataclass(frozen=True)
class Sizes:
    """Of the model, and of a clip."""

    heads: int
    head_width: int
    clip: VideoSize

    @property
    def width(self) -> int:
        return self.heads * self.head_width


@dataclass(frozen=True)
class Kind:
    """A model of a family.

    Attributes:
        miniature: the family's small model, which it is like in all but its sizes.
        config: what differs in diffusers' configuration of the transformer.
    """

    miniature: str
    config: Callable[[Sizes], Mapping[str, Any]]


def _heads(sizes: Sizes) -> dict[str, Any]:
    return {
        "num_layers": LAYER_COUNT,
        "num_attention_heads": sizes.heads,
        "attention_head_dim": sizes.head_width,
        "cross_attention_dim": sizes.width,
    }


def _with_sound(sizes: Sizes) -> dict[str, Any]:
    return _heads(sizes) | {
        "caption_channels": sizes.width,
        "audio_num_attention_heads": sizes.heads,
        "audio_attention_head_dim": sizes.head_width // 2,
        "audio_cross_attention_dim": sizes.width // 2,
    }


LTX_VIDEO = Kind("LTXV_MINIATURE", lambda sizes: _heads(sizes) | {"caption_channels": _TEXT_WIDTH})
LTX_2 = Kind("LTX2_MINIATURE", _with_sound)


def random_model(miniature: str, config: Mapping[str, Any]) -> Model:
    """A model whose transformer has random weights, the same at every call.

    Args:
        miniature: a model that ships, which it is like in all but its sizes.
        config: what differs in diffusers' configuration of the transformer.
    """
    like = open_model(miniature)
    return replace(like, transformer=_RandomTransformer(like, config))


def text_widths(model: Model) -> dict[str, int]:
    """Of the tensors of a caption that a transformer reads."""
    config = model.facts.transformer_config
    assert config is not None
    of_captions = config.get("caption_channels", 0)
    if model.family.text == (PROMPT,):
        return {PROMPT: of_captions}
    if config.get("use_prompt_embeddings", True):
        return dict.fromkeys((VIDEO_TEXT, AUDIO_TEXT), of_captions)
    return {
        VIDEO_TEXT: config["cross_attention_dim"],
        AUDIO_TEXT: config["audio_cross_attention_dim"],
    }


class _RandomTransformer:
    """The transformer of a `Model`."""

    identity, content, module_names = "random", None, None

    def __init__(self, like: Model, sizes: Mapping[str, Any]):
        self._like = like
        self._config = {**(like.facts.transformer_config or {}), **sizes}

    @property
    def facts(self) -> ModelFacts:
        return replace(self._like.facts, transformer_config=self._config)

    def require(self) -> None:
        pass

    def load(self, dtype: torch.dtype) -> Any:
        built: Transformer = on_meta(lambda: self._like.family.layers.new_transformer(self._config))
        generator = torch.Generator().manual_seed(_SEED)
        drawn = torch.rand(_DRAWN, generator=generator) * 2 - 1
        for number, (name, old) in enumerate(list(built.state_dict(keep_vars=True).items())):
            owner, _, leaf = name.rpartition(".")
            tensor = _weight(leaf, old.shape, drawn[number:], dtype)
            layer = built.get_submodule(owner)
            if isinstance(old, nn.Parameter):
                layer.register_parameter(leaf, nn.Parameter(tensor))
            else:
                layer.register_buffer(leaf, tensor)
        return built

    def denoiser(self, transformer: Any) -> Denoiser:
        return self._like.transformer.denoiser(transformer)


def _weight(leaf: str, shape: torch.Size, drawn: Tensor, dtype: torch.dtype) -> Tensor:
    """Matrices as torch begins them, scales of norms 1, everything else small."""
    if leaf == "weight" and len(shape) == 1:
        return torch.ones(shape, dtype=dtype)
    numbers = shape.numel()
    part = (drawn[:numbers] / math.sqrt(shape[-1])).to(dtype)
    weight = torch.empty(numbers, dtype=dtype)
    for piece in weight.split(len(part)):
        piece.copy_(part[: len(piece)])
    return weight.view(shape)
