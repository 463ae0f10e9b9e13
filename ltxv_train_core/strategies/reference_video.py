from dataclasses import replace

from torch import Tensor

from ..config import TrainingConfig
from ..datasets.dataset import Batch, TrainingDataset
from ..diffusion.draws import SampleDraws
from ..families.names import REFERENCE
from .base import StreamStep
from .standard import StandardStrategy, open_dataset


class ReferenceVideoStrategy(StandardStrategy):
    """IC-LoRA: the clean tokens of a reference follow those of the target."""

    @staticmethod
    def open_data(config: TrainingConfig) -> TrainingDataset:
        return open_dataset(config, config.conditioning.reference_latents_dir)

    def _step(self, name: str, batch: Batch, levels: Tensor, draws: SampleDraws) -> StreamStep:
        target = super()._step(name, batch, levels, draws)
        latents = batch.streams[name].get(REFERENCE)
        if latents is None:
            return target
        where = self.streams[name].reference_positions(latents.shape[2:], batch.fps)
        reference = self._clean(latents.to(self.arithmetic.dtype), where, name)
        return replace(target, seen=target.seen.followed_by(reference))
