"""What a training step saves for its backward pass, from sizes alone. No torch."""

from dataclasses import dataclass


@dataclass(frozen=True)
class ActivationBytes:
    """Bytes of activations that a step saves for backward, for each token and channel.

    Attributes:
        block: of every block.
        recomputed: of every block that is computed again in the backward pass, one at a time.
        shared: once for all blocks.
        working: what the backward pass takes beside when it begins.
        again: all but the inputs of the blocks, while one of them is computed again and goes backward.
    """

    block: float
    recomputed: float
    shared: float
    working: float = 0.0
    again: float = 0.0

    def bytes(self, tokens: int, width: int, layers: int, recomputed: int = 0) -> int:
        """Of a step, at its peak: at the end of the forward pass, or when the first block is computed again.

        Args:
            tokens: of all samples together, references included.
            recomputed: how many of the layers are computed again.
        """
        peak = self.block * (layers - recomputed) + self.shared + self.working
        if recomputed:
            peak = max(peak, self.again, self.block + self.shared)
        return round(tokens * width * (self.recomputed * recomputed + peak))
