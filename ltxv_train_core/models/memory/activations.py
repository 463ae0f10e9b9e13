"""What a training step saves for its backward pass, from sizes alone. No torch."""

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
