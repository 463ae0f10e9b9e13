from dataclasses import replace

from torch import Tensor

from ..datasets.dataset import Batch
from ..diffusion.draws import SampleDraws
from ..families.names import LATENTS, REFERENCE
from .base import StreamStep
from .standard import StandardStrategy


class ReferenceStrategy(StandardStrategy):
    """IC-LoRA: the clean tokens of references follow those of their targets."""

    def _step(self, name: str, batch: Batch, levels: Tensor, draws: SampleDraws) -> StreamStep:
        target = super()._step(name, batch, levels, draws)
        tensors = batch.streams[name]
        latents = tensors.get(REFERENCE)
        if latents is None:
            return target
        shapes = latents.shape[2:], tensors[LATENTS].shape[2:]
        where = self.streams[name].reference_positions(*shapes, batch.fps)
        reference = self._clean(latents.to(self.arithmetic.dtype), where, name)
        return replace(target, seen=target.seen.followed_by(reference))
