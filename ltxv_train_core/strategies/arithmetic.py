"""What trainers compute differently in one step. `flow_matching.compat` switches all of it."""

from dataclasses import dataclass

import torch

from ..config import FlowMatchingConfig


@dataclass(frozen=True)
class Arithmetic:
    """How a step computes what the model sees and what it should predict.

    Attributes:
        dtype: of clean latents, noise and their difference.
        told_levels: how many noise levels the model can be told apart; None: any.
        conditions_by_batch: whether one draw decides for all samples of a batch what is given.
    """

    dtype: torch.dtype = torch.float32
    told_levels: int | None = None
    conditions_by_batch: bool = False

    def told(self, levels: torch.Tensor) -> torch.Tensor:
        """The noise levels that the model is told."""
        if self.told_levels is None:
            return levels
        return torch.round(levels * self.told_levels) / self.told_levels


OURS = Arithmetic()
LTX_VIDEO_TRAINER = Arithmetic(torch.bfloat16, told_levels=1000, conditions_by_batch=True)
"""Lightricks/LTX-Video-Trainer 31b1273: latents and noise in bfloat16, integer timesteps of 1000."""


def arithmetic_of(wanted: FlowMatchingConfig) -> Arithmetic:
    """That of the trainer whose results a configuration reproduces."""
    return LTX_VIDEO_TRAINER if wanted.compat else OURS
