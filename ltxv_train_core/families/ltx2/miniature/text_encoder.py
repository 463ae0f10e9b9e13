"""Prompts to what the second miniature's transformer reads: a small T5 and LTX-2.3's connectors.

The connectors put registers behind the tokens of a prompt, and all attend. Their own attention is
switched off here: tokens and registers don't see each other, and all registers are equal. How many
registers follow therefore changes nothing but their share in the transformer's attention.

Shapes: B batch, L tokens of the longest prompt, S tokens with registers, D width.
"""

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ....models.memory.quantize import to_eight_bits, to_four_bits
from ....models.text_bounds import require_few_characters, require_few_tokens
from ...ltxv.text_encoder import WIDEST_LAYER
from ...names import AUDIO_TEXT, VIDEO_TEXT

if TYPE_CHECKING:
    from diffusers.pipelines.ltx2 import LTX2TextConnectors
    from transformers import T5EncoderModel

VIDEO_FEATURES, AUDIO_FEATURES = "video_features", "audio_features"

TEXT_TOKENS = 32
"""S is the next multiple of it; ComfyUI's own is 1,024, which takes three times as long."""


class MiniatureTextEncoder:
    """T5 and connectors with their tokenizer."""

    def __init__(self, encoder: "T5EncoderModel", connectors: "LTX2TextConnectors", tokenizer: Any):
        self.encoder = encoder.eval().requires_grad_(False)
        self.connectors = connectors.eval().requires_grad_(False)
        self.tokenizer = tokenizer
        self._in_four_bits = False

    def in_eight_bits(self) -> "MiniatureTextEncoder":
        """Halves the memory of T5; the next `to` quantizes."""
        to_eight_bits(self.encoder, keep=WIDEST_LAYER)
        return self

    def in_four_bits(self) -> "MiniatureTextEncoder":
        """A quarter of the memory of bfloat16; the next `to` quantizes."""
        self._in_four_bits = True
        return self

    def to(self, device: torch.device) -> "MiniatureTextEncoder":
        if self._in_four_bits:
            to_four_bits(self.encoder.encoder.block, device, keep=WIDEST_LAYER)
            self._in_four_bits = False
        self.encoder.to(device)
        self.connectors.to(device)
        return self

    @torch.no_grad()
    def encode(self, prompts: list[str]) -> list[dict[str, Tensor]]:
        """Finished texts: `VIDEO_TEXT` [S, D] and `AUDIO_TEXT` [S, D'] per prompt on the CPU.

        Raises:
            DataError: a prompt is too long.
        """
        states, mask = self._states(
            prompts, self.connectors.config.video_connector_num_learnable_registers
        )
        video, audio, _ = self.connectors(states, mask)
        lengths = [-(-count // TEXT_TOKENS) * TEXT_TOKENS for count in mask.sum(1).tolist()]
        return [
            {VIDEO_TEXT: v[:length].cpu(), AUDIO_TEXT: a[:length].cpu()}
            for v, a, length in zip(video, audio, lengths, strict=True)
        ]

    @torch.no_grad()
    def features(self, prompts: list[str]) -> list[dict[str, Tensor]]:
        """What ComfyUI's model runs its connectors on: `VIDEO_FEATURES` [L, D] and `AUDIO_FEATURES`
        [L, D'] per prompt on the CPU, without registers.

        Raises:
            DataError: a prompt is too long.
        """
        states, mask = self._states(prompts, 1)
        video, audio = project(self.connectors, states)
        return [
            {VIDEO_FEATURES: v[keep].cpu(), AUDIO_FEATURES: a[keep].cpu()}
            for v, a, keep in zip(video, audio, mask.bool(), strict=True)
        ]

    def _states(self, prompts: list[str], multiple: int) -> tuple[Tensor, Tensor]:
        """Hidden states [B, L, 128, 3] and mask [B, L], L padded to a multiple."""
        for prompt in prompts:
            require_few_characters(prompt)
        tokens = self.tokenizer(
            prompts,
            padding=True,
            truncation=False,
            return_tensors="pt",
            pad_to_multiple_of=multiple,
        )
        for prompt, count in zip(prompts, tokens.attention_mask.sum(1).tolist(), strict=True):
            require_few_tokens(prompt, count)
        device = self.encoder.device
        mask = tokens.attention_mask.to(device)
        return hidden_states(self.encoder, tokens.input_ids.to(device), mask), mask


def hidden_states(encoder: "T5EncoderModel", ids: Tensor, mask: Tensor) -> Tensor:
    """All states of the encoder, the embedding first, [B, L, 128, 3]."""
    states = encoder(ids, attention_mask=mask, output_hidden_states=True).hidden_states
    return torch.stack(states, dim=-1)


def project(connectors: "LTX2TextConnectors", states: Tensor) -> tuple[Tensor, Tensor]:
    """The connectors' first step: normalised states, projected for video [B, L, D] and audio [B, L, D']."""
    from diffusers.pipelines.ltx2.connectors import per_token_rms_norm

    config = connectors.config
    normalised = per_token_rms_norm(states).flatten(2)
    return (
        connectors.video_text_proj_in(
            normalised * (config.video_hidden_dim / config.caption_channels) ** 0.5
        ),
        connectors.audio_text_proj_in(
            normalised * (config.audio_hidden_dim / config.caption_channels) ** 0.5
        ),
    )
