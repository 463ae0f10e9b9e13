"""A text encoder of the core as ComfyUI's CLIP, for those that the stock CLIP loader can't build."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

import torch
from torch import Tensor

from ...ltxv_train_core.families.names import AUDIO_TEXT, PROMPT, VIDEO_TEXT

if TYPE_CHECKING:
    from ...ltxv_train_core.families.model import TextEncoder

Conditioning: TypeAlias = list[list[Any]]

PROMPT_TOKENS = 128
"""As many as LTX-Video was trained with. Longer prompts get as many as they have."""


class CoreClip:
    """What CLIP Text Encode asks of a CLIP; brackets in a prompt change no weights."""

    def __init__(self, encoder: "TextEncoder", device: torch.device):
        self._encoder = encoder
        self._device = device

    def tokenize(self, text: str, **_: object) -> str:
        """The text: tokens and embeddings are made together."""
        return text

    def encode_from_tokens_scheduled(self, tokens: str, **_: object) -> Conditioning:
        """A text's conditioning. The encoder is on the device only meanwhile."""
        encoder = self._encoder.to(self._device)
        try:
            (embedding,) = encoder.encode([tokens])
        finally:
            encoder.to(torch.device("cpu"))
        return conditioning(embedding)


def conditioning(embedding: Mapping[str, Tensor]) -> Conditioning:
    """An encoded prompt, named tensors [L, D], as ComfyUI's CONDITIONING."""
    if PROMPT not in embedding:
        # Texts of both streams side by side, ready for the transformer: ComfyUI knows them by their width.
        whole = torch.cat([embedding[VIDEO_TEXT], embedding[AUDIO_TEXT]], dim=-1)
        return [[whole[None], {}]]
    tokens = embedding[PROMPT]
    length, width = tokens.shape
    padded = tokens.new_zeros(1, max(PROMPT_TOKENS, length), width)
    padded[0, :length] = tokens
    mask = torch.zeros(padded.shape[:2], dtype=torch.long)
    mask[0, :length] = 1
    return [[padded, {"attention_mask": mask}]]
