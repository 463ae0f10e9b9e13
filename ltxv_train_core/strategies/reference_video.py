from dataclasses import replace

import torch

from ..config import TrainingConfig
from ..datasets.dataset import Batch, TrainingDataset
from ..diffusion.tokens import latent_size, reference_positions, to_tokens
from .base import StepInputs
from .standard import StandardStrategy, open_dataset


class ReferenceVideoStrategy(StandardStrategy):
    """IC-LoRA: the clean tokens of a reference video follow those of the target."""

    @staticmethod
    def open_data(config: TrainingConfig) -> TrainingDataset:
        return open_dataset(config, config.conditioning.reference_latents_dir)

    def prepare(self, batch: Batch, generator: torch.Generator) -> StepInputs:
        target = super().prepare(batch, generator)
        assert batch.reference_latents is not None, "the data set was opened without references"
        reference = to_tokens(batch.reference_latents.float())
        where = reference_positions(latent_size(batch.reference_latents), batch.fps)
        return replace(
            target,
            tokens=torch.cat([target.tokens, reference], dim=1),
            timesteps=torch.cat([target.timesteps, torch.zeros(reference.shape[:2])], dim=1),
            positions=torch.cat([target.positions, where], dim=2),
        )
