"""What a step of LTX-Video 0.9.x saves for its backward pass. No torch.

Counted as autograd saves it, with the 2B model's proportions, a LoRA of rank 64 on the attention and
captions of 60 tokens; a test counts again. What is alive at the peak of a backward pass is counted tensor by tensor.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ...models.memory.activations import ActivationBytes
from ..names import VIDEO

# Bytes for each token and channel. diffusers' blocks keep over twice as many: ours compute cheap results again.
LORA_IN_HALF = ActivationBytes(28.1, 2.0, shared=7.3, working=16.7, again=53.3)
ACTIVATION_BYTES = {
    ("lora", "half"): LORA_IN_HALF,
    ("lora", "float32"): ActivationBytes(58.9, 4.0, shared=6.5, working=33.6, again=97.8),
    ("full", "half"): ActivationBytes(52.3, 4.0, shared=14.4, working=11.4, again=79.4),
    ("full", "float32"): ActivationBytes(96.6, 4.0, shared=20.8, working=16.0, again=129.6),
}
"""By training mode and precision of the forward pass."""
COMPILED = {("lora", "half"): replace(LORA_IN_HALF, block=16.9)}
"""Of compiled blocks (torch 2.13, counted as the CPU's allocator gives memory). Others were not counted: they are taken to
save what they save without being compiled, which is more."""


def saved_bytes(
    config: Mapping[str, Any],
    tokens: Mapping[str, int],
    samples: int,
    training_mode: str,
    precision: str,
    recomputed: int,
    compiled: bool,
) -> int:
    """See `families.family.SavedBytes`."""
    width = config["num_attention_heads"] * config["attention_head_dim"]
    saved = ACTIVATION_BYTES[training_mode, precision]
    if compiled:
        saved = COMPILED.get((training_mode, precision), saved)
    return saved.bytes(tokens[VIDEO], width, config["num_layers"], recomputed)
