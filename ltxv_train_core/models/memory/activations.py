"""What a training step keeps for its backward pass, from sizes alone. No torch.

Counted as autograd keeps it, with the 2B model's proportions, a LoRA of rank 64 on the attention and
captions of 60 tokens; a test counts again.
"""

from dataclasses import dataclass

GIB = 2**30


@dataclass(frozen=True)
class ActivationBytes:
    """Bytes of activations that a step saves for backward, for each token and channel.

    Attributes:
        block: of every block.
        recomputed: of every block that is computed again in the backward pass, one at a time.
        shared: once for all blocks.
    """

    block: float
    recomputed: float
    shared: float

    def bytes(self, tokens: int, width: int, layers: int, recomputed: int = 0) -> int:
        """Of a step.

        Args:
            tokens: of all samples together, references included.
            recomputed: how many of the layers are computed again.
        """
        blocks = self.block * (layers - recomputed) + self.recomputed * recomputed
        if recomputed:
            blocks += self.block
        return round(tokens * width * (blocks + self.shared))


LORA_IN_HALF = ActivationBytes(block=35.7, recomputed=2.0, shared=21.9)
ACTIVATION_BYTES = {
    ("lora", "half"): LORA_IN_HALF,
    ("lora", "float32"): ActivationBytes(block=70.5, recomputed=4.0, shared=36.3),
    ("full", "half"): ActivationBytes(block=52.6, recomputed=4.0, shared=41.7),
    ("full", "float32"): ActivationBytes(block=97.0, recomputed=4.0, shared=67.4),
}
"""By training mode and precision of the forward pass."""
