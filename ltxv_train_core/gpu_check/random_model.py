"""Transformers that nobody has trained, with blocks as wide as published ones."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn

from ..families.base import Denoiser
from ..families.model import Model, ModelFacts
from ..families.names import AUDIO_TEXT, PROMPT, VIDEO_TEXT
from ..families.open import open_model
from ..geometry import VideoSize

LAYER_COUNT = 4
_TEXT_WIDTH, _SEED = 256, 0


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
        text_widths: of the tensors of a caption.
    """

    miniature: str
    config: Callable[[Sizes], Mapping[str, Any]]
    text_widths: Callable[[Sizes], Mapping[str, int]]


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


LTX_VIDEO = Kind(
    "LTXV_MINIATURE",
    lambda sizes: _heads(sizes) | {"caption_channels": _TEXT_WIDTH},
    lambda sizes: {PROMPT: _TEXT_WIDTH},
)
LTX_2 = Kind(
    "LTX2_MINIATURE",
    _with_sound,
    lambda sizes: {VIDEO_TEXT: sizes.width, AUDIO_TEXT: sizes.width // 2},
)


def random_model(kind: Kind, sizes: Sizes) -> Model:
    """A model whose transformer has random weights, the same at every call."""
    like = open_model(kind.miniature)
    return replace(like, transformer=_RandomTransformer(like, kind.config(sizes)))


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
        with torch.random.fork_rng(devices=()):
            torch.manual_seed(_SEED)
            # Past the method of diffusers, which warns of layers that this model has none of.
            return nn.Module.to(self._like.family.layers.new_transformer(self._config), dtype)

    def denoiser(self, transformer: Any) -> Denoiser:
        return self._like.transformer.denoiser(transformer)
