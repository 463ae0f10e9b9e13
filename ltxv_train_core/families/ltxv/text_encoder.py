"""Prompts to embeddings, as the sampler makes them: with the mask, without truncation."""

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ...models.memory.quantize import to_eight_bits, to_four_bits
from ...models.text_bounds import require_few_characters, require_few_tokens
from ..names import PROMPT

if TYPE_CHECKING:
    from transformers import T5EncoderModel


WIDEST_LAYER = "wo"
"""Its activations overflow in fewer bits: transformers keeps it whole too."""


class T5TextEncoder:
    """T5 with its tokenizer."""

    def __init__(self, encoder: "T5EncoderModel", tokenizer: Any):
        self.encoder = encoder.eval().requires_grad_(False)
        self.tokenizer = tokenizer
        self._in_four_bits = False

    def in_eight_bits(self) -> "T5TextEncoder":
        """Half the memory of bfloat16; the next `to` quantizes."""
        to_eight_bits(self.encoder, keep=WIDEST_LAYER)
        return self

    def in_four_bits(self) -> "T5TextEncoder":
        """A quarter of the memory of bfloat16; the next `to` quantizes."""
        self._in_four_bits = True
        return self

    def to(self, device: torch.device) -> "T5TextEncoder":
        if self._in_four_bits:
            to_four_bits(self.encoder.encoder.block, device, keep=WIDEST_LAYER)
            self._in_four_bits = False
        self.encoder.to(device)
        return self

    @torch.no_grad()
    def encode(self, prompts: list[str]) -> list[dict[str, Tensor]]:
        """One [L, D] per prompt on the CPU, padding cut off (L real tokens with the end).

        Raises:
            DataError: a prompt is too long.
        """
        for prompt in prompts:
            require_few_characters(prompt)
        tokens = self.tokenizer(prompts, padding=True, truncation=False, return_tensors="pt")
        for prompt, count in zip(prompts, tokens.attention_mask.sum(1).tolist(), strict=True):
            require_few_tokens(prompt, count)
        mask = tokens.attention_mask.to(self.encoder.device)
        hidden = self.encoder(
            input_ids=tokens.input_ids.to(self.encoder.device), attention_mask=mask
        ).last_hidden_state
        return [{PROMPT: row[keep.bool()].cpu()} for row, keep in zip(hidden, mask, strict=True)]
