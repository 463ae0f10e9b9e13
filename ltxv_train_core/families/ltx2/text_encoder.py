"""Prompts to what LTX-2.x's transformer reads: Gemma, the projection, the connectors.

Gemma reads a prompt as it is, with a first token before it. A prompt is encoded without padding: ComfyUI and
Lightricks pad it on the left and leave the padding out again.

Shapes: L tokens of a prompt, S tokens with registers, D width.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from ...models.memory.quantize import to_eight_bits, to_four_bits
from ...models.text_bounds import require_few_characters, require_few_tokens
from .connectors import Connectors
from .text_projection import TextProjection

Tokenize = Callable[[str], list[int]]


class LTX2TextEncoder:
    """Gemma with its tokenizer, projection and connectors."""

    def __init__(
        self, gemma: Any, tokenize: Tokenize, projection: TextProjection, connectors: Connectors
    ):
        self.gemma = gemma.eval().requires_grad_(False)
        self.tokenize = tokenize
        self.projection = projection.eval().requires_grad_(False)
        self.connectors = connectors.eval().requires_grad_(False)
        self._in_four_bits = False

    def in_eight_bits(self) -> "LTX2TextEncoder":
        """Halves the memory of Gemma; the next `to` quantizes."""
        to_eight_bits(self.gemma)
        return self

    def in_four_bits(self) -> "LTX2TextEncoder":
        """A quarter of the memory of Gemma; the next `to` quantizes, layer by layer."""
        self._in_four_bits = True
        return self

    def to(self, device: torch.device) -> "LTX2TextEncoder":
        if self._in_four_bits:
            to_four_bits(self.gemma.layers, device)
            self._in_four_bits = False
        for module in (self.gemma, self.projection, self.connectors):
            module.to(device)
        return self

    @torch.no_grad()
    def encode(self, prompts: list[str]) -> list[dict[str, Tensor]]:
        """`VIDEO_TEXT` [S, D] and `AUDIO_TEXT` [S, D'] per prompt on the CPU.

        Raises:
            DataError: a prompt is too long.
        """
        finished = (self.connectors.finish(self.features(prompt)) for prompt in prompts)
        return [{name: text.cpu() for name, text in each.items()} for each in finished]

    @torch.no_grad()
    def features(self, prompt: str) -> Tensor:
        """What ComfyUI's text encoder gives for a prompt: [L, D], or [L, D + D'].

        Raises:
            DataError: it is too long.
        """
        require_few_characters(prompt)
        ids = self.tokenize(prompt)
        require_few_tokens(prompt, len(ids))
        given = torch.tensor([ids], device=self.gemma.embed_tokens.weight.device)
        states = self.gemma(input_ids=given, output_hidden_states=True, use_cache=False)
        hidden = torch.stack([each[0] for each in states.hidden_states], dim=-1)
        features: Tensor = self.projection(hidden)
        return features
